# mypy: disable-error-code="import-not-found"
"""CHGNet by its authors' own calculator: the independent code that our network must equal."""

from importlib.metadata import version
from typing import Any

from chgnet.model.dynamics import CHGNetCalculator


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator with the weights that its package ships."""
    calculator = CHGNetCalculator(use_device=settings["device"], on_isolated_atoms="ignore", return_site_energies=True)
    return calculator, {"chgnet": version("chgnet"), "torch": version("torch")}
