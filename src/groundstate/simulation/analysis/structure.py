"""Where atoms stand relative to each other, averaged over a trajectory: distances and angles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Geometry, OptionError, UndefinedPropertyError
from groundstate.atoms.elements import from_label, symbols
from groundstate.atoms.geometry import Edges
from groundstate.simulation import options
from groundstate.simulation.analysis.trajectory import Trajectory

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Radial distribution functions by pair of elements.

    distance Å, middles of the bins · g, 1 where atoms do not know of each other · coordination: mean number of the
    second element around the first up to the outer edge of each bin
    """

    distance: Float[Tensor, " bin"]
    g: Mapping[Pair, Float[Tensor, " bin"]]
    coordination: Mapping[Pair, Float[Tensor, " bin"]]


@dataclass(frozen=True, eq=False)
class Angles:
    """How often angles occur. angle °, middles of bins · density per degree, integrates to 1 · count of angles"""

    angle: Float[Tensor, " bin"]
    density: Float[Tensor, " bin"]
    count: int


def rdf(trajectory: Trajectory, *, cutoff: float = 6.0, bins: int = 120, every: int = 1) -> Pairs:
    """g_ab(r) = n_ab(r)/(N_a ρ_b v(r)) with ρ_b = N_b/V, v the exact volume of a shell, all images counted.

    Right for every cell, however small or skewed, as pairs come from the neighbour list. An atom does not see itself,
    so that g of an ideal gas of N atoms is 1 − 1/N between its images. `every`: frames that are used.
    Checked: tests/simulation/test_structure_analysis.py (ideal gas, fcc shells, a skewed cell)
    """
    options.within("cutoff", cutoff, 0.1, 100.0, hint="it is in Å")
    options.whole("bins", bins, 1)
    options.whole("every", every, 1)
    width = cutoff / bins
    present = sorted(set(trajectory.numbers.tolist()))
    sizes = {z: int((trajectory.numbers == z).sum()) for z in present}
    counts = {pair: torch.zeros(bins, dtype=torch.float64) for pair in combinations_with_replacement(present, 2)}
    volumes, frames = trajectory.volumes, range(0, trajectory.n_frames, every)
    # Each frame at its own density, so that cells may change.
    raw = {pair: torch.zeros(bins, dtype=torch.float64) for pair in counts}
    for frame in frames:
        edges = _edges(trajectory, frame, cutoff)
        which = (edges.distances / width).long().clamp_max(bins - 1)
        first, second = trajectory.numbers[edges.receivers], trajectory.numbers[edges.senders]
        for a, b in counts:
            found = torch.bincount(which[(first == a) & (second == b)], minlength=bins).to(torch.float64)
            raw[a, b] += found
            counts[a, b] += found * volumes[frame]
    inner = width * torch.arange(bins + 1, dtype=torch.float64)
    shell = 4 / 3 * math.pi * (inner[1:] ** 3 - inner[:-1] ** 3)

    def named(pair: tuple[int, int]) -> Pair:
        one, other = symbols(list(pair))
        return one, other

    return Pairs(
        distance=0.5 * (inner[1:] + inner[:-1]),
        g={named((a, b)): n / (len(frames) * sizes[a] * sizes[b] * shell) for (a, b), n in counts.items()},
        coordination={named((a, b)): n.cumsum(0) / (len(frames) * sizes[a]) for (a, b), n in raw.items()},
    )


def angular_distribution(
    trajectory: Trajectory, triple: tuple[str, str, str], *, cutoff: float, bins: int = 90, every: int = 1
) -> Angles:
    """Angles end–centre–end of neighbours within `cutoff` (Å); `triple` names (end, centre, end).

    Not divided by sin θ: ends that are placed at random give ½ sin θ.
    Checked: tests/simulation/test_structure_analysis.py (fcc, water)
    """
    options.within("cutoff", cutoff, 0.1, 100.0, hint="it is in Å")
    options.whole("bins", bins, 1)
    left, centre, right = (from_label(name)[0].number for name in triple)
    missing = [name for name, z in zip(triple, (left, centre, right), strict=True) if z not in trajectory.numbers]
    if missing:
        what = f"the trajectory holds no {missing[0]}"
        raise OptionError("E-ELEMENT-ABSENT", what, fix="name elements that are there")
    counts, total = torch.zeros(bins, dtype=torch.float64), 0
    for frame in range(0, trajectory.n_frames, every):
        edges = _edges(trajectory, frame, cutoff)
        one, other = _pairs_of_edges(edges)
        ends, middle = trajectory.numbers[edges.senders], trajectory.numbers[edges.receivers[one]]
        # Every pair of ends comes twice, in both orders; one of them fits when the ends differ, and half are kept else.
        fits = (middle == centre) & (ends[one] == left) & (ends[other] == right)
        fits &= (one < other) if left == right else torch.ones_like(fits)
        one, other = one[fits], other[fits]
        lengths = edges.distances[one] * edges.distances[other]
        cosine = (edges.vectors[one] * edges.vectors[other]).sum(dim=1) / lengths
        degrees = torch.rad2deg(torch.arccos(cosine.clamp(-1.0, 1.0)))
        counts += torch.histc(degrees, bins, 0.0, 180.0)
        total += len(degrees)
    if total == 0:
        what = f"no {'–'.join(triple)} within {cutoff:g} Å"
        raise UndefinedPropertyError("E-PROPERTY-UNDEFINED", what, why="there is no angle", fix="use a larger cutoff")
    width = 180.0 / bins
    middle_of_bins = width * (torch.arange(bins, dtype=torch.float64) + 0.5)
    return Angles(middle_of_bins, counts / (total * width), total)


def _edges(trajectory: Trajectory, frame: int, cutoff: float) -> Edges:
    return Geometry.of(trajectory.system(frame), cutoff).edges(cutoff)


def _pairs_of_edges(edges: Edges) -> tuple[Tensor, Tensor]:
    """All ordered pairs of different edges that share their receiver."""
    degree = edges.receiver_ptr.diff()
    partners = degree[edges.receivers]
    one = torch.repeat_interleave(torch.arange(len(partners)), partners)
    start = torch.repeat_interleave(edges.receiver_ptr[:-1][edges.receivers], partners)
    within = torch.arange(len(one)) - torch.repeat_interleave(partners.cumsum(0) - partners, partners)
    other = start + within
    different = one != other
    return one[different], other[different]
