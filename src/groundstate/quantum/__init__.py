"""Floor 4: reference quantum mechanics: engines that label structures and check what a potential says."""

from groundstate.quantum.engine import Engine
from groundstate.quantum.engines import ASE, GPAW, XTB, PySCF
from groundstate.quantum.labeller import Label, Reference

__all__ = ["ASE", "GPAW", "XTB", "Engine", "Label", "PySCF", "Reference"]
