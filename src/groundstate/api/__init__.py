"""The same verbs as the command line, in Python: files, ASE atoms or systems in, results out.

>>> import groundstate as gs
>>> model = gs.load("chgnet")
>>> for result in gs.relax(["MgO.cif", "SrTiO3.cif"], model, cell="full"):
...     print(result.status, result.energy)

`source` is a path, an `ase.Atoms`, a `System`, or a list of any of them; `model` a name, a path or a loaded model.
Options are those of `RelaxConfig`, `MDConfig` and `TrainConfig`. One bad structure gets its reason, the others their
result.
"""

from groundstate.api.compare import Comparison, compare
from groundstate.api.doors import drive
from groundstate.api.learning import evaluate, finetune, train
from groundstate.api.models import convert, laws
from groundstate.api.parity import Parity, Tolerances, parity
from groundstate.api.sources import LoadedModel, load, systems, with_results
from groundstate.api.structures import Predicted, md, predict, relax
from groundstate.data import read

__all__ = [
    "Comparison",
    "LoadedModel",
    "Parity",
    "Predicted",
    "Tolerances",
    "compare",
    "convert",
    "drive",
    "evaluate",
    "finetune",
    "laws",
    "load",
    "md",
    "parity",
    "predict",
    "read",
    "relax",
    "systems",
    "train",
    "with_results",
]
