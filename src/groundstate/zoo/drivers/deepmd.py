# mypy: disable-error-code="import-not-found"
"""DeePMD-kit models (DPA and others) by its own calculator. settings: `file` the model, `head` its branch."""

from importlib.metadata import version
from typing import Any

from ase.data import atomic_numbers
from deepmd.calculator import DP


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator; its elements are those of the type map."""
    calculator = DP(settings["file"], head=settings.get("head"))
    names = calculator.dp.get_type_map()
    facts = {"deepmd-kit": version("deepmd-kit"), "torch": version("torch"), "cutoff": float(calculator.dp.get_rcut())}
    return calculator, {**facts, "elements": sorted(atomic_numbers[name] for name in names if name in atomic_numbers)}
