# mypy: disable-error-code="import-not-found"
"""NequIP and Allegro by the framework's calculator. settings: `file`, a package (.nequip.zip) or compiled (.pt2)."""

from importlib.metadata import version
from typing import Any

from ase.data import atomic_numbers
from nequip.integrations.ase import NequIPCalculator


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator; a package runs uncompiled, slower and on any machine."""
    file = settings["file"]
    if file.endswith((".pt2", ".pth")):
        calculator = NequIPCalculator.from_compiled_model(file, device=settings["device"])
        return calculator, {"nequip": version("nequip"), "torch": version("torch")}
    calculator = NequIPCalculator._from_saved_model(file, device=settings["device"])
    names = calculator.model.metadata["type_names"].split(" ")
    numbers = sorted(atomic_numbers[name] for name in names if name in atomic_numbers)
    facts = {"nequip": version("nequip"), "torch": version("torch"), "elements": numbers}
    return calculator, {**facts, "cutoff": float(calculator.model.metadata["r_max"])}
