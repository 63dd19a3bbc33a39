"""Pictures of lattice dynamics: bands beside their density of states, and quantities against temperature."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from groundstate.simulation.properties import PER_CM
from groundstate.simulation.properties.spectrum import Bands, Spectrum

_INK, _LINE, _BAD = "#1b2430", "#0b6e6e", "#d1495b"


def bands(dispersion: Bands, spectrum: Spectrum, levels: Mapping[str, float] | None = None) -> Figure:
    """Frequencies along the path, THz left and cm⁻¹ right, imaginary ones below zero and red; density of states beside.

    levels   named frequencies (THz) to compare with, e.g. from experiment, drawn as lines
    """
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    distances, values = dispersion.distances.numpy(), dispersion.frequencies_THz.numpy()
    for first, last in dispersion.segments:
        part = values[first:last]
        left.plot(distances[first:last], part, color=_LINE, lw=1.2)
        left.plot(distances[first:last], np.where(part < -0.05, part, np.nan), color=_BAD, lw=1.4)
    ticks, names = _ticks(dispersion)
    left.set_xticks(ticks, names)
    for tick in ticks:
        left.axvline(tick, color=_INK, lw=0.4, zorder=0)
    left.axhline(0.0, color=_INK, lw=0.6, zorder=0)
    for (name, level), style in zip((levels or {}).items(), ("--", ":", "-.", (0, (1, 3))), strict=False):
        left.axhline(level, ls=style, lw=1.0, color=_INK, label=name)
    if levels:
        left.legend(frameon=False, fontsize="small", loc="upper right")
    left.set(xlim=(ticks[0], ticks[-1]), ylim=(1.05 * min(0.0, values.min()), None), ylabel="frequency (THz)")
    right.plot(spectrum.density.numpy(), spectrum.frequencies_THz.numpy(), color=_LINE, lw=1.2)
    right.fill_betweenx(spectrum.frequencies_THz.numpy(), spectrum.density.numpy(), color=_LINE, alpha=0.15, lw=0)
    right.set(xlabel="states (1/THz)", xlim=(0, None))
    other = right.secondary_yaxis("right", functions=(lambda f: f * PER_CM, lambda f: f / PER_CM))
    other.set_ylabel("frequency (cm⁻¹)")
    return figure


def _ticks(dispersion: Bands) -> tuple[list[float], list[str]]:
    """Where segments meet, and what is there; a jump of the path reads U|K."""
    distances = dispersion.distances.tolist()
    ticks, names = [distances[0]], [dispersion.labels[0][0]]
    for k, ((_, last), (_, end)) in enumerate(zip(dispersion.segments, dispersion.labels, strict=True)):
        following = dispersion.labels[k + 1][0] if k + 1 < len(dispersion.labels) else end
        ticks.append(distances[last - 1])
        names.append(end if following == end else f"{end}|{following}")
    return ticks, names
