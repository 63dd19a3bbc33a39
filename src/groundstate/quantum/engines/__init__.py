"""The engines, one file each: what their settings mean, which are refused, and what level of theory they make."""

from groundstate.quantum.engines.abinit import Abinit
from groundstate.quantum.engines.ase import ASE
from groundstate.quantum.engines.gpaw import GPAW
from groundstate.quantum.engines.pyscf import PySCF
from groundstate.quantum.engines.xtb import XTB

__all__ = ["ASE", "GPAW", "XTB", "Abinit", "PySCF"]
