"""The same verbs as the command line, in Python: files, ASE atoms or systems in, results out.

>>> import groundstate as gs
>>> model = gs.load("chgnet")
>>> for result in gs.relax(["MgO.cif", "SrTiO3.cif"], model, cell="full"):
...     print(result.status, result.energy)

`source` is a path, an `ase.Atoms`, a `System`, or a list of any of them; `model` a name, a path or a loaded model.
Options are those of `RelaxConfig`, `MDConfig` and `TrainConfig`. One bad structure gets its reason, the others their
result.
"""

from groundstate.api.builders import adsorb, surface, vacancy, widom
from groundstate.api.compare import Comparison, compare
from groundstate.api.data_check import DataCheck, check_data
from groundstate.api.doors import drive
from groundstate.api.export import export, load_run
from groundstate.api.installing import install, model_facts, remove
from groundstate.api.learning import advise, evaluate, finetune, train
from groundstate.api.models import committee, convert, laws, merge_experts
from groundstate.api.parity import Parity, Tolerances, parity
from groundstate.api.paths import neb, saddle
from groundstate.api.properties import elastic, eos, follow_mode, phonons, thermal_conductivity, thermal_expansion
from groundstate.api.reference import check, label
from groundstate.api.sources import LoadedModel, load, systems, with_results
from groundstate.api.structures import Predicted, md, predict, relax
from groundstate.api.trajectories import free_energy, green_kubo, read_trajectory
from groundstate.data import read

__all__ = [
    "Comparison",
    "DataCheck",
    "LoadedModel",
    "Parity",
    "Predicted",
    "Tolerances",
    "adsorb",
    "advise",
    "check",
    "check_data",
    "committee",
    "compare",
    "convert",
    "drive",
    "elastic",
    "eos",
    "evaluate",
    "export",
    "finetune",
    "follow_mode",
    "free_energy",
    "green_kubo",
    "install",
    "label",
    "laws",
    "load",
    "load_run",
    "md",
    "merge_experts",
    "model_facts",
    "neb",
    "parity",
    "phonons",
    "predict",
    "read",
    "read_trajectory",
    "relax",
    "remove",
    "saddle",
    "surface",
    "systems",
    "thermal_conductivity",
    "thermal_expansion",
    "train",
    "vacancy",
    "widom",
    "with_results",
]
