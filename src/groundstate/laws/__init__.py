"""Floor 3: the laws of physics as a library. Unit test of every potential, admission exam, audit a user runs."""

from groundstate.laws.exam import LAWS, Law, examine
from groundstate.laws.precision import Precision, precision_of
from groundstate.laws.result import LawResult, as_table
from groundstate.laws.specimens import Specimens, prepare

__all__ = ["LAWS", "Law", "LawResult", "Precision", "Specimens", "as_table", "examine", "precision_of", "prepare"]
