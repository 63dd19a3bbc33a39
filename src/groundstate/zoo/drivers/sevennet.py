# mypy: disable-error-code="import-not-found"
"""SevenNet by its own calculator. settings: `file` the checkpoint, `modal` the task of a model that has several."""

from importlib.metadata import version
from typing import Any

from sevenn.calculator import SevenNetCalculator


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator; its elements are those of the checkpoint."""
    calculator = SevenNetCalculator(settings["file"], device=settings["device"], modal=settings.get("modal"))
    facts = {"sevenn": version("sevenn"), "torch": version("torch"), "elements": sorted(calculator.type_map)}
    return calculator, {**facts, "cutoff": float(calculator.cutoff)}
