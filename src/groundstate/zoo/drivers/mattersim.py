# mypy: disable-error-code="import-not-found"
"""MatterSim by its own calculator. settings: `file` the checkpoint."""

from importlib.metadata import version
from typing import Any

from mattersim.forcefield.potential import MatterSimCalculator


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator; its stress is turned from GPa into eV/Å³ by the package itself."""
    calculator = MatterSimCalculator.from_checkpoint(
        settings["file"], device=settings["device"], load_training_state=False
    )
    return calculator, {"mattersim": version("mattersim"), "torch": version("torch")}
