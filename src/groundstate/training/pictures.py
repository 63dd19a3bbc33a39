"""Pictures of a run under way, as PNG; made without pyplot, so nothing global is touched."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

_TRAIN, _VALID, _INK = "#d1495b", "#0b6e6e", "#1b2430"
_MOST_POINTS = 20_000
"""Of one panel; of more, evenly chosen ones are drawn."""


def learning_curve(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss and RMSE of every part against epochs, of training and validation, on logarithmic axes."""
    names = [key.removeprefix("valid_") for key in history[0] if key == "valid_loss" or key.endswith("_rmse")]
    names = list(dict.fromkeys(name for name in names if f"valid_{name}" in history[-1]))
    figure = Figure(figsize=(3.6 * len(names), 3.2), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for role, colour in (("train", _TRAIN), ("valid", _VALID)):
            rows = [(line["epoch"], line[f"{role}_{name}"]) for line in history if f"{role}_{name}" in line]
            if rows:
                axes.plot(*zip(*rows, strict=True), ".-", lw=1.2, ms=3, color=colour, label=role)
        positive = all(line.get(f"{role}_{name}", 1.0) > 0 for line in history for role in ("train", "valid"))
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "), yscale="log" if positive else "linear")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def parity(panels: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> bytes:
    """(Reference, predicted) of every quantity; below, the error on its own scale. Keys name quantity and unit."""
    figure = Figure(figsize=(3.8 * len(panels), 5.0), layout="constrained")
    rows = figure.subplots(2, len(panels), squeeze=False, sharex="col", height_ratios=(2, 1))
    for (upper, lower), (label, (reference, predicted)) in zip(rows.T, panels.items(), strict=True):
        x, y = np.asarray(reference, dtype=float), np.asarray(predicted, dtype=float)
        chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(int))
        upper.plot(x[chosen], y[chosen], ".", ms=3, alpha=0.5, color=_VALID)
        lower.plot(x[chosen], (y - x)[chosen], ".", ms=3, alpha=0.5, color=_VALID)
        upper.axline((float(x[0]), float(x[0])), slope=1, lw=0.8, color=_INK, zorder=0)
        lower.axhline(0, lw=0.8, color=_INK, zorder=0)
        upper.set(ylabel=f"predicted {label}")
        lower.set(xlabel=f"reference {label}", ylabel="error")
        for axes in (upper, lower):
            axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=150)
    return stream.getvalue()
