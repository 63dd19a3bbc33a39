# mypy: disable-error-code="import-not-found"
"""UMA and eSEN by fairchem's own calculator. settings: `file` the checkpoint, `task` its level of theory."""

from importlib.metadata import version
from typing import Any

from fairchem.core import FAIRChemCalculator
from fairchem.core.units.mlip_unit import load_predict_unit


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator of one task."""
    unit = load_predict_unit(settings["file"], device=settings["device"])
    calculator = FAIRChemCalculator(unit, task_name=settings.get("task"))
    return calculator, {"fairchem-core": version("fairchem-core"), "torch": version("torch")}
