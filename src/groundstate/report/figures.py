"""Pictures of results. Figures are made without pyplot, so nothing global is touched."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase.visualize.plot import plot_atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from groundstate.atoms import System
from groundstate.data import to_ase

_COLOURS = ("#0b6e6e", "#d1495b", "#edae49", "#30638e", "#7a5195", "#5b6675")


def parity(panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]]) -> Figure:
    """Predicted against reference: one panel per quantity (its key names quantity and unit), one colour per model."""
    figure = Figure(figsize=(4.2 * len(panels), 4.0), layout="constrained")
    for axes, (label, series) in zip(_row(figure, len(panels)), panels.items(), strict=True):
        values = []
        for (name, (reference, predicted)), colour in zip(series.items(), _COLOURS, strict=False):
            x, y = np.asarray(reference).ravel(), np.asarray(predicted).ravel()
            axes.plot(x, y, ".", ms=4, alpha=0.6, color=colour, label=name)
            values += [x, y]
        low, high = min(v.min() for v in values), max(v.max() for v in values)
        axes.plot([low, high], [low, high], "-", lw=0.8, color="#1b2430", zorder=0)
        axes.set(xlabel=f"reference {label}", ylabel=f"predicted {label}")
        axes.set_aspect("equal", "datalim")
        axes.legend(frameon=False)
    return figure


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    x_label: str,
    y_label: str,
    *,
    logarithmic: bool = False,
    markers: bool = False,
) -> Figure:
    """y against x for several series; the labels carry the units."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    (axes,) = _row(figure, 1)
    for (name, (x, y)), colour in zip(series.items(), _COLOURS, strict=False):
        axes.plot(np.asarray(x), np.asarray(y), "o-" if markers else "-", lw=1.4, ms=5, color=colour, label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.legend(frameon=False)
    return figure


def bars(values: Mapping[str, float], y_label: str) -> Figure:
    """One number per name."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    (axes,) = _row(figure, 1)
    axes.bar(list(values), list(values.values()), color=_COLOURS[0])
    axes.set_ylabel(y_label)
    return figure


def structures(named: Mapping[str, System], rotation: str = "12x,-18y,2z") -> Figure:
    """Each structure in projection, with its cell."""
    figure = Figure(figsize=(3.2 * len(named), 3.2), layout="constrained")
    for axes, (name, system) in zip(_row(figure, len(named)), named.items(), strict=True):
        plot_atoms(to_ase(system)[0], axes, rotation=rotation, radii=0.5)
        axes.set_title(name, fontsize=11)
        axes.set_axis_off()
    return figure


def _row(figure: Figure, n: int) -> Sequence[Axes]:
    return list(np.atleast_1d(figure.subplots(1, n)))
