"""Contributions to the energy, one per file."""

from groundstate.potentials.terms.mace_zbl import MACEZBL
from groundstate.potentials.terms.references import ReferenceEnergies
from groundstate.potentials.terms.short_range import ShortRange
from groundstate.potentials.terms.zbl import ZBL

__all__ = ["MACEZBL", "ZBL", "ReferenceEnergies", "ShortRange"]
