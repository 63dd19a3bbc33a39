# mypy: disable-error-code="import-not-found"
"""MatGL potentials (M3GNet, TensorNet, …) by the package's calculator. settings: `file` the folder of the model."""

from importlib.metadata import version
from typing import Any

import matgl
from ase.data import atomic_numbers
from matgl.ext.ase import PESCalculator


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator; its elements are those of the model."""
    potential = matgl.load_model(settings["file"])
    potential.eval()
    calculator = PESCalculator(potential, stress_unit="eV/A3", use_voigt=True)
    facts = {"matgl": version("matgl"), "torch": version("torch"), "cutoff": float(calculator.cutoff)}
    return calculator, {**facts, "elements": sorted(atomic_numbers[symbol] for symbol in calculator.element_types)}
