# mypy: disable-error-code="import-not-found"
"""MACE by its own calculator. settings: `file` the .model file (a pickle: it may run code of its own), `precision`."""

from importlib.metadata import version
from typing import Any

from mace.calculators import MACECalculator


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator; its elements are those of the model."""
    calculator = MACECalculator(
        model_paths=settings["file"],
        device=settings["device"],
        default_dtype=settings["precision"],
        **({"head": settings["head"]} if "head" in settings else {}),
    )
    numbers = [int(z) for z in calculator.models[0].atomic_numbers]
    facts = {"mace-torch": version("mace-torch"), "torch": version("torch"), "elements": numbers}
    return calculator, {**facts, "cutoff": float(calculator.r_max)}
