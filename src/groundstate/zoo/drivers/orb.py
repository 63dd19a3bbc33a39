# mypy: disable-error-code="import-not-found"
"""Orb by its own calculator. settings: `file` the checkpoint, `model` the function of `pretrained` that builds it."""

from importlib.metadata import version
from typing import Any

from orb_models.forcefield import pretrained
from orb_models.forcefield.calculator import ORBCalculator

PRECISIONS = {"float32": "float32-highest", "float64": "float64"}


def make(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator, not compiled: compiling takes minutes and gains nothing on small structures."""
    build = getattr(pretrained, settings["model"])
    model = build(
        weights_path=settings["file"],
        device=settings["device"],
        precision=PRECISIONS[settings["precision"]],
        compile=False,
    )
    calculator = ORBCalculator(model, device=settings["device"])
    facts = {"orb-models": version("orb-models"), "torch": version("torch")}
    return calculator, {**facts, "conservative": bool(calculator.conservative)}
