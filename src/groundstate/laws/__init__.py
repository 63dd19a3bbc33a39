"""Floor 3: the laws of physics as a library. Unit test of every potential, admission exam, audit a user runs."""

from groundstate.laws.exam import LAWS, Law, examine
from groundstate.laws.noise import force_noise, precision_of
from groundstate.laws.precision import Precision
from groundstate.laws.result import LawResult, as_table
from groundstate.laws.specimens import Specimens, prepare

__all__ = [
    "LAWS",
    "Law",
    "LawResult",
    "Precision",
    "Specimens",
    "as_table",
    "examine",
    "force_noise",
    "precision_of",
    "prepare",
]
