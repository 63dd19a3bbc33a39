"""The energy surface has no cliffs: where a neighbour crosses a cutoff, and where two atoms are pushed together."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import System
from groundstate.atoms.elements import element, symbols
from groundstate.laws.answers import magnitude
from groundstate.laws.precision import Precision
from groundstate.laws.result import Deviation, LawResult, verdict
from groundstate.laws.specimens import Specimens, prepared
from groundstate.potentials import Potential, evaluate

GRID = 0.02
"""Å; spacing of the scan that is searched for steps."""
SUSPECTS = 5
"""Windows of the scan followed up for each kind of step."""
WINDOW = 6
"""Order of the differences that tell a step from a slope: smooth change shrinks with its power of the spacing."""
CONTACT, BONDED = 0.35, 0.55
"""Fractions of the sum of covalent radii. Below 0.35 no structure is accepted; the shortest known bonds (multiple bonds
of early transition metals, V₂ and Cr₂) lie near 0.6, so below 0.55 every pair repels."""
SHORTEST_BOND = 0.5
"""Å; no molecule has a bond this short (H₂: 0.74), so a pair repels below it whatever its radii say."""
KINK_STEPS = {"float64": 1e-2, "float32": 1e-1}
"""Å; spacing of the differences that show a kink."""
POINTS = 41
"""Distances per diatomic."""


@dataclass(frozen=True, eq=False)
class _Path:
    """A small cluster and a probe atom that leaves it along a line; the probe is the last atom."""

    cluster: System
    start: Float[Tensor, " xyz"]
    direction: Float[Tensor, " xyz"]

    def systems(self, distances: Float[Tensor, " point"]) -> System:
        """One structure per distance of the probe from the cluster's nearest atom."""
        probes = self.start + distances[:, None] * self.direction
        return System.batch(
            [self.cluster.replace(positions=torch.cat([self.cluster.positions[:-1], p[None]])) for p in probes]
        )


@dataclass(frozen=True, eq=False)
class _Scan:
    """Energies and forces at ordered distances; `along` is the force on the probe along its path."""

    distances: Float[Tensor, " point"]
    energies: Float[Tensor, " point"]
    forces: Float[Tensor, "point component"]
    along: Float[Tensor, " point"]


def cutoff(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Energy and forces are continuous while an atom leaves a cluster, through every cutoff on its way.

    The way is scanned in steps of 0.02 Å. The intervals where sixth differences of energy or forces stand out from
    their surroundings, and the one at the potential's own cutoff, are halved towards the larger change until only a
    true step is left. A jump of the force's slope (a kink, eV/Å²) at the cutoff is reported and not judged.
    """
    path = _way_out(potential, specimens)
    reach = potential.cutoff + 0.3
    nearest_bond = 0.9 * _bond(int(path.cluster.numbers[0]), int(path.cluster.numbers[-1]))
    first = min(nearest_bond, 0.5 * potential.cutoff)
    distances = torch.arange(first, reach, GRID, dtype=torch.float64)
    scan = _measure(potential, path, distances)
    if not (torch.isfinite(scan.energies).all() and torch.isfinite(scan.forces).all()):
        bad = Deviation("energy along the way", "probe", math.inf, precision.energy_jump, "eV")
        return verdict("cutoff", [bad])
    own = int((potential.cutoff - first) / GRID)
    suspects = sorted(
        {own, *_suspects(scan.energies[:, None], precision.energy_jump), *_suspects(scan.forces, precision.force_jump)}
    )
    intervals = torch.stack([distances[suspects], distances[[s + 1 for s in suspects]]], dim=1)
    energy_jump, energy_at = _jump(potential, path, intervals, precision, by_energy=True)
    force_jump, force_at = _jump(potential, path, intervals, precision, by_energy=False)
    kink = _kink(potential, path, precision)
    return verdict(
        "cutoff",
        [
            Deviation("energy jump", f"at {energy_at:.3f} Å", energy_jump, precision.energy_jump, "eV"),
            Deviation("force jump", f"at {force_at:.3f} Å", force_jump, precision.force_jump, "eV/Å"),
        ],
        f"kink of the force at the cutoff {kink:.1e} eV/Å²",
    )


def repulsion(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Two atoms pushed together repel, the harder the closer: dE/dr < 0 from 0.55 down to 0.35 of the covalent sum.

    The measure is the number of element pairs with a hole, a distance where the energy falls on approach.
    """
    holes = []
    for a, b in specimens.pairs:
        bond = _bond(a, b)
        distances = torch.linspace(CONTACT * bond, max(BONDED * bond, SHORTEST_BOND), POINTS, dtype=torch.float64)
        dimer = prepared(potential, System.single([[0, 0, 0], [0, 0, 1]], [a, b]))
        axis = dimer.positions.new_tensor([0.0, 0.0, 1.0])
        scan = _measure(potential, _Path(dimer, torch.zeros_like(axis), axis), distances)
        falling = (scan.along[1:] > 0) & (scan.energies.diff() < 0)  # NaN is not falling
        if not bool(falling.all()):
            wrong = distances[1:][~falling]
            names = "–".join(symbols([a, b]))
            holes.append(f"{names} {float(wrong.min()):.2f}–{float(wrong.max()):.2f} Å")
    shown = ", ".join(holes[:8]) + (f" and {len(holes) - 8} more" if len(holes) > 8 else "")
    detail = f"{len(specimens.pairs)} pairs tried" + (f"; holes: {shown}" if holes else "; no holes")
    return LawResult("repulsion", not holes, float(len(holes)), 0.0, "element pairs with a hole", detail)


def _bond(a: int, b: int) -> float:
    return element(a).covalent_radius + element(b).covalent_radius


def _way_out(potential: Potential, specimens: Specimens) -> _Path:
    """Four atoms of the molecule and a fifth that leaves from the outermost of them, away from the centre."""
    molecule = specimens["molecule"]
    numbers = torch.cat([molecule.numbers[:4], molecule.numbers[4:5]])
    positions = molecule.positions[:5]
    centre = positions[:4].mean(dim=0)
    direction = (positions[0] - centre) / torch.linalg.vector_norm(positions[0] - centre)
    cluster = prepared(potential, System.single(positions.cpu(), numbers.cpu()))
    return _Path(cluster, positions[0], direction)


def _measure(potential: Potential, path: _Path, distances: Float[Tensor, " point"]) -> _Scan:
    energies, forces = [], []
    for part in distances.split(100):
        found = evaluate(potential, path.systems(part.to(path.start.device)), ("energy", "forces"))
        energies.append(found["energy"].to("cpu", torch.float64))
        forces.append(found["forces"].to("cpu", torch.float64).reshape(len(part), -1, 3))
    force = torch.cat(forces)
    along = force[:, -1] @ path.direction.cpu()
    return _Scan(distances, torch.cat(energies), force.reshape(len(distances), -1), along)


def _suspects(values: Float[Tensor, "point component"], negligible: float) -> list[int]:
    """Intervals where the sixth difference stands out most from the median of its surroundings."""
    difference = values.diff(n=WINDOW, dim=0).abs().amax(dim=1)
    around = 2 * WINDOW
    padded = torch.nn.functional.pad(difference[None, None], (around, around), mode="replicate")[0, 0]
    prominence = difference / (padded.unfold(0, 2 * around + 1, 1).median(dim=1).values + 0.01 * negligible)
    windows = prominence.topk(min(SUSPECTS, len(prominence))).indices.tolist()
    return [window + middle for window in windows for middle in (WINDOW // 2 - 1, WINDOW // 2)]


def _jump(
    potential: Potential, path: _Path, intervals: Float[Tensor, "interval 2"], precision: Precision, by_energy: bool
) -> tuple[float, float]:
    """Size and place of the largest step, found by halving every interval towards its larger change."""
    low, high = _measure(potential, path, intervals[:, 0]), _measure(potential, path, intervals[:, 1])
    while float((high.distances - low.distances).max()) > precision.jump_width:
        middle = _measure(potential, path, 0.5 * (low.distances + high.distances))
        left = _change(low, middle, by_energy) >= _change(middle, high, by_energy)
        low, high = _chosen(left, low, middle), _chosen(left, middle, high)
    width = high.distances - low.distances
    # What the neighbouring intervals of the same width show is slope; a step is what exceeds it.
    before = _change(_measure(potential, path, low.distances - width), low, by_energy)
    after = _change(high, _measure(potential, path, high.distances + width), by_energy)
    steps = _change(low, high, by_energy) - torch.minimum(before, after)
    worst = int(steps.argmax())
    size = max(float(steps[worst]), 0.0) if bool(torch.isfinite(steps).all()) else math.inf
    return size, float(low.distances[worst])


def _change(a: _Scan, b: _Scan, by_energy: bool) -> Float[Tensor, " interval"]:
    """What differs between two points: the energy beyond the work of the force, or the most changed force component."""
    if by_energy:
        return (b.energies - a.energies + 0.5 * (a.along + b.along) * (b.distances - a.distances)).abs()
    return (b.forces - a.forces).abs().amax(dim=1)


def _chosen(first: Bool[Tensor, " interval"], a: _Scan, b: _Scan) -> _Scan:
    """Point of a where `first` holds, of b elsewhere."""
    return _Scan(
        torch.where(first, a.distances, b.distances),
        torch.where(first, a.energies, b.energies),
        torch.where(first[:, None], a.forces, b.forces),
        torch.where(first, a.along, b.along),
    )


def _kink(potential: Potential, path: _Path, precision: Precision) -> float:
    """Jump of dF/dr at the potential's cutoff, from one-sided differences."""
    step = KINK_STEPS[precision.name]
    offsets = step * torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64)
    force = _measure(potential, path, potential.cutoff + offsets).forces
    return magnitude((force[3] - force[2]) - (force[1] - force[0])) / step
