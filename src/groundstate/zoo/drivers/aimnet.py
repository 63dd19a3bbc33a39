# mypy: disable-error-code="import-not-found"
"""AIMNet2 by its own calculator. settings: `file` the model. Charge is always stated, so none is left from before."""

from importlib.metadata import version
from typing import Any

from aimnet.calculators import AIMNet2ASE, AIMNet2Calculator


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator; its elements are those the model lists, where it lists them."""
    calculator = AIMNet2ASE(AIMNet2Calculator(settings["file"], device=settings["device"]))
    facts: dict[str, Any] = {"aimnet": version("aimnet"), "torch": version("torch")}
    if calculator.implemented_species is not None:
        facts["elements"] = sorted(int(z) for z in calculator.implemented_species)
    return calculator, facts
