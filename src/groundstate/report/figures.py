"""Pictures of results. Figures are made without pyplot, so nothing global is touched."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from groundstate.report.style import INK as _INK
from groundstate.report.style import SERIES as _COLOURS


def parity(panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]]) -> Figure:
    """Predicted against reference, and below the errors on their own scale: a column per quantity, a colour per model.

    The key of a panel names quantity and unit.
    """
    figure = Figure(figsize=(4.2 * len(panels), 5.6), layout="constrained")
    rows = figure.subplots(2, len(panels), squeeze=False, sharex="col", height_ratios=(2, 1))
    for (upper, lower), (label, series) in zip(rows.T, panels.items(), strict=True):
        for (name, (reference, predicted)), colour in zip(series.items(), _COLOURS, strict=False):
            x, y = np.asarray(reference).ravel(), np.asarray(predicted).ravel()
            upper.plot(x, y, ".", ms=4, alpha=0.6, color=colour, label=name)
            lower.plot(x, y - x, ".", ms=4, alpha=0.6, color=colour)
        upper.axline((0, 0), slope=1, lw=0.8, color=_INK, zorder=0)
        lower.axhline(0, lw=0.8, color=_INK, zorder=0)
        upper.set_ylabel(f"predicted {label}")
        lower.set(xlabel=f"reference {label}", ylabel="error")
        upper.legend(frameon=False)
        for axes in (upper, lower):
            _quiet(axes)
    return figure


def on_a_line(panels: Mapping[str, tuple[ArrayLike, ArrayLike]], x_label: str, y_label: str) -> Figure:
    """Points that should lie on the line of slope 1 through 0, a panel for each key; the labels carry the units."""
    figure = Figure(figsize=(4.2 * len(panels), 3.8), layout="constrained")
    for axes, (title, (x, y)), colour in zip(_row(figure, len(panels)), panels.items(), _COLOURS, strict=False):
        axes.plot(np.asarray(x), np.asarray(y), ".", ms=4, alpha=0.6, color=colour)
        axes.axline((0, 0), slope=1, lw=0.8, color=_INK, zorder=0)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        _quiet(axes)
    return figure


def agreement(
    lower: Mapping[str, ArrayLike], upper: Mapping[str, ArrayLike], lower_label: str, upper_label: str
) -> Figure:
    """Every model against every other: below the diagonal one quantity, above it another; the labels carry units.

    All of `lower` have one length, all of `upper` another (or none), NaN where a model said nothing.
    """
    names = list(lower)
    n = len(names)
    figure = Figure(figsize=(2.3 * n + 0.8, 2.3 * n + 0.4), layout="constrained")
    grid = figure.subplots(n, n, squeeze=False)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            axes, values = grid[i, j], lower if i > j else upper
            if i == j:
                axes.text(0.5, 0.5, row, ha="center", va="center", transform=axes.transAxes, fontsize=10, wrap=True)
                axes.set_axis_off()
                continue
            x, y = np.asarray(values[column], dtype=float), np.asarray(values[row], dtype=float)
            axes.plot(x, y, ".", ms=3.5, alpha=0.55, color=_COLOURS[0 if i > j else 3])
            axes.axline((0, 0), slope=1, lw=0.8, color=_INK, zorder=0)
            axes.tick_params(labelsize=7)
            _quiet(axes)
    figure.supxlabel(f"below the diagonal: {lower_label} · above: {upper_label}", fontsize=9)
    return figure


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    x_label: str,
    y_label: str,
    *,
    logarithmic: bool = False,
    markers: bool = False,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """y against x for several series, and named horizontal levels to compare with; the labels carry the units."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    (axes,) = _row(figure, 1)
    for (name, (x, y)), colour in zip(series.items(), _COLOURS, strict=False):
        axes.plot(np.asarray(x), np.asarray(y), "o-" if markers else "-", lw=1.4, ms=5, color=colour, label=name)
    for (name, level), style in zip((levels or {}).items(), ("--", ":", "-."), strict=False):
        axes.axhline(level, ls=style, lw=1.2, color=_INK, label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    if logarithmic:
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            scale("log")
            axis.set_major_formatter(FuncFormatter(_plain))
            axis.set_minor_formatter(FuncFormatter(_plain))
        axes.tick_params(which="minor", labelsize="small")
    named = len(series) + len(levels or {})
    figure.legend(frameon=False, loc="outside right upper") if named > 3 else axes.legend(frameon=False)
    _quiet(axes)
    return figure


def _quiet(axes: Axes) -> None:
    """Without the frame that says nothing."""
    axes.spines[["top", "right"]].set_visible(False)


def _plain(value: float, _: int) -> str:
    """2, 5 and 10 rather than powers, and only those."""
    leading = value / 10 ** np.floor(np.log10(value))
    return f"{value:g}" if min(abs(leading - known) for known in (1, 2, 5)) < 1e-6 else ""


def _row(figure: Figure, n: int) -> Sequence[Axes]:
    return list(np.atleast_1d(figure.subplots(1, n)))
