"""What is wrong with a data set, found before a model learns it. Each check is a pure function of the frames."""

from groundstate.data.lint.examination import Examination, examine
from groundstate.data.lint.finding import Checked, Finding

__all__ = ["Checked", "Examination", "Finding", "examine"]
