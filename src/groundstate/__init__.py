"""groundstate: one foundation for atoms. Importing it imports nothing heavy; names load what they need.

>>> import groundstate as gs
>>> model = gs.load("chgnet")
>>> result = gs.relax("MgO.cif", model)
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("groundstate")

_FROM = {
    "GroundstateError": "groundstate.atoms",
    "LevelOfTheory": "groundstate.atoms",
    "System": "groundstate.atoms",
    "adsorb": "groundstate.api",
    "advise": "groundstate.api",
    "check": "groundstate.api",
    "committee": "groundstate.api",
    "compare": "groundstate.api",
    "drive": "groundstate.api",
    "elastic": "groundstate.api",
    "eos": "groundstate.api",
    "evaluate": "groundstate.api",
    "export": "groundstate.api",
    "finetune": "groundstate.api",
    "follow_mode": "groundstate.api",
    "free_energy": "groundstate.api",
    "green_kubo": "groundstate.api",
    "install": "groundstate.api",
    "label": "groundstate.api",
    "laws": "groundstate.api",
    "load": "groundstate.api",
    "load_run": "groundstate.api",
    "md": "groundstate.api",
    "model_facts": "groundstate.api",
    "merge_experts": "groundstate.api",
    "neb": "groundstate.api",
    "parity": "groundstate.api",
    "phonons": "groundstate.api",
    "predict": "groundstate.api",
    "read": "groundstate.api",
    "read_trajectory": "groundstate.api",
    "relax": "groundstate.api",
    "remove": "groundstate.api",
    "saddle": "groundstate.api",
    "surface": "groundstate.api",
    "thermal_conductivity": "groundstate.api",
    "thermal_expansion": "groundstate.api",
    "train": "groundstate.api",
    "vacancy": "groundstate.api",
    "widom": "groundstate.api",
}
__all__ = sorted(_FROM)


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module 'groundstate' has no attribute '{name}'")
    return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
