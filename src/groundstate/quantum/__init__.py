"""Floor 4: reference quantum mechanics: engines that label structures and check what a potential says."""

from groundstate.quantum.catalogue import ENGINES, engine, report
from groundstate.quantum.convergence import Shift, check_convergence
from groundstate.quantum.engine import Engine, settings
from groundstate.quantum.engines import ASE, GPAW, XTB, Abinit, PySCF
from groundstate.quantum.labeller import Label, Reference
from groundstate.quantum.verify import Compared, Verification, verify

__all__ = [
    "ASE",
    "ENGINES",
    "GPAW",
    "XTB",
    "Abinit",
    "Compared",
    "Engine",
    "Label",
    "PySCF",
    "Reference",
    "Shift",
    "Verification",
    "check_convergence",
    "engine",
    "report",
    "settings",
    "verify",
]
