"""Two models side by side, without labels: diatomics, energies against volume, weights, and how new judges are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import RunError, System
from groundstate.atoms.elements import element, symbols
from groundstate.data import Record, composition
from groundstate.laws.specimens import prepared
from groundstate.potentials import Potential, Sum, evaluate
from groundstate.simulation.properties.curves import fit_curve
from groundstate.simulation.properties.equation_of_state import scaled_to

_SHORTEST, _LONGEST, _DISTANCES = 0.4, 2.5, 64
"""Of a diatomic, in sums of covalent radii; and how many distances in between."""
_RIPPLE = 0.02
"""eV; a dip of a diatomic that is shallower is not called a minimum."""
_MOST_PAIRS, _MOST_CURVES, _MOST_ATOMS = 10, 4, 250
_RATIOS = tuple(0.92 + 0.02 * i for i in range(9))
NEAR_COPY = 0.05
"""Å, root mean square; structures as near as this are neighbours of one trajectory."""


@dataclass(frozen=True)
class Diatomic:
    """Energies (eV, of the isolated atoms 0) of a pair of atoms at distances (Å), before and after.

    minima   local minima deeper than 20 meV, more than one of which no real pair has
    """

    pair: str
    distances: list[float]
    before: list[float]
    after: list[float]
    minima: tuple[int, int]


@dataclass(frozen=True)
class VolumeCurve:
    """Energies (eV/atom, of the lowest 0) of one taught structure scaled to volumes (Å³/atom), before and after.

    Atoms keep their places in the cell. volume and bulk_modulus_GPa of the fitted Birch–Murnaghan curve, `None` where
    the energies have no minimum between the volumes or none that a curve describes.
    """

    formula: str
    volumes: list[float]
    before: list[float]
    after: list[float]
    volume: tuple[float | None, float | None]
    bulk_modulus_GPa: tuple[float | None, float | None]


@dataclass(frozen=True)
class Moved:
    """How far the weights of one part went: ‖after − before‖/‖before‖, of how many numbers which share changed."""

    part: str
    relative: float
    numbers: int
    changed: float


@dataclass(frozen=True)
class Nearness:
    """Root mean square distances (Å) from each structure to judge by to the nearest taught one of the same atoms.

    compared   structures that have one of the same atoms at all · near_copies: nearer than `NEAR_COPY`
    """

    judged: int
    compared: int
    near_copies: int
    smallest: float | None
    median: float | None


def diatomics(before: Potential, after: Potential, elements: Sequence[int]) -> list[Diatomic]:
    """Every pair of the elements, as two atoms alone."""
    found = []
    for a, b in list(combinations_with_replacement(sorted(elements), 2))[:_MOST_PAIRS]:
        bond = element(a).covalent_radius + element(b).covalent_radius
        distances = torch.linspace(_SHORTEST * bond, _LONGEST * bond, _DISTANCES, dtype=torch.float64)
        curves = [_pair_energies(model, a, b, distances) for model in (before, after)]
        minima = (_minima(curves[0]), _minima(curves[1]))
        found.append(
            Diatomic("–".join(symbols([a, b])), distances.tolist(), curves[0].tolist(), curves[1].tolist(), minima)
        )
    return found


def _pair_energies(model: Potential, a: int, b: int, distances: Float[Tensor, " point"]) -> Float[Tensor, " point"]:
    pairs = [System.single([[0.0, 0, 0], [0.0, 0, float(r)]], [a, b]) for r in distances]
    alone = [System.single([[0.0, 0, 0]], [z]) for z in (a, b)]
    singles = [evaluate(model, prepared(model, one), ("energy",))["energy"] for one in alone]
    together = evaluate(model, prepared(model, System.batch(pairs)), ("energy",))["energy"]
    return (together - singles[0] - singles[1]).cpu()


def _minima(energies: Float[Tensor, " point"]) -> int:
    """Dips that are `_RIPPLE` deep on both sides, counted along the curve."""
    count, low, high, falling = 0, float(energies[0]), float(energies[0]), True
    for value in energies.tolist():
        if falling:
            low = min(low, value)
            if value > low + _RIPPLE:
                count, falling, high = count + 1, False, value
        else:
            high = max(high, value)
            if value < high - _RIPPLE:
                falling, low = True, value
    return count


def volume_curves(before: Potential, after: Potential, records: Sequence[Record]) -> list[VolumeCurve]:
    """Of each composition the crystal with the smallest labelled forces, scaled."""
    calm: dict[str, tuple[float, System]] = {}
    for record in records:
        if not bool(record.system.pbc.all()) or record.n_atoms > _MOST_ATOMS or "forces" not in record.labels:
            continue
        size, formula = float(record.labels["forces"].abs().max()), composition(record.system)
        if formula not in calm or size < calm[formula][0]:
            calm[formula] = (size, record.system)
    found = []
    for formula, (_, system) in list(calm.items())[:_MOST_CURVES]:
        scaled = [scaled_to(system, ratio) for ratio in _RATIOS]
        volumes = torch.stack([one.volume[0] for one in scaled]).cpu() / system.n_atoms
        curves = [_energies(model, scaled) / system.n_atoms for model in (before, after)]
        fits = [_minimum(volumes, energies) for energies in curves]
        found.append(
            VolumeCurve(
                formula,
                volumes.tolist(),
                (curves[0] - curves[0].min()).tolist(),
                (curves[1] - curves[1].min()).tolist(),
                (fits[0][0], fits[1][0]),
                (fits[0][1], fits[1][1]),
            )
        )
    return found


def _energies(model: Potential, systems: Sequence[System]) -> Float[Tensor, " point"]:
    return torch.cat([evaluate(model, prepared(model, one), ("energy",))["energy"].cpu() for one in systems])


def _minimum(volumes: Tensor, energies: Tensor) -> tuple[float | None, float | None]:
    if int(energies.argmin()) in (0, len(energies) - 1):
        return None, None
    try:
        fit = fit_curve(volumes, energies, "birch_murnaghan")
    except RunError:
        return None, None
    return fit.volume, fit.bulk_modulus_GPa


def moved(before: Potential, after: Potential) -> list[Moved]:
    """By part of the model, down to the maps of a layer; of a correction, that everything in it is new."""
    if isinstance(after, Sum):
        new = sum(p.numel() for p in after.potentials[-1].parameters())
        kept = sum(p.numel() for p in after.potentials[0].parameters())
        return [Moved("base", 0.0, kept, 0.0), Moved("correction (new)", 1.0, new, 1.0)]
    groups: dict[str, list[tuple[Tensor, Tensor]]] = {}
    old = before.state_dict()
    for name, value in after.state_dict().items():
        groups.setdefault(_part(name), []).append((old[name].double().cpu(), value.double().cpu()))
    return [_moved(part, pairs) for part, pairs in groups.items()]


def _part(name: str) -> str:
    """`layer 1, radial` of `trunk.layers.0.radial.hidden.1`."""
    words = name.split(".")
    if words[:2] == ["trunk", "layers"]:
        return f"layer {int(words[2]) + 1}, {words[3]}"
    return {"trunk": words[1], "heads": f"head of {words[1]}", "terms": words[1]}.get(words[0], words[0])


def _moved(part: str, pairs: Sequence[tuple[Tensor, Tensor]]) -> Moved:
    difference = torch.cat([(new - old).reshape(-1) for old, new in pairs])
    size = float(torch.cat([old.reshape(-1) for old, _ in pairs]).norm())
    relative = float(difference.norm()) / size if size > 0 else float(difference.norm())
    return Moved(part, relative, difference.numel(), float((difference != 0).double().mean()))


def nearness(taught: Sequence[Record], judged: Sequence[Record]) -> Nearness:
    """How far structures to judge by are from those that were taught. Exact copies have been refused before."""
    groups: dict[tuple[int, ...], list[System]] = {}
    for record in taught:
        groups.setdefault(tuple(record.system.numbers.tolist()), []).append(record.system)
    smallest = []
    for record in judged:
        same = groups.get(tuple(record.system.numbers.tolist()))
        if same:
            smallest.append(min(_distance(record.system, other) for other in same))
    distances = sorted(smallest)
    near = sum(d < NEAR_COPY for d in distances)
    if not distances:
        return Nearness(len(judged), 0, 0, None, None)
    return Nearness(len(judged), len(distances), near, distances[0], distances[len(distances) // 2])


def _distance(a: System, b: System) -> float:
    """Root mean square displacement and difference of lattice vectors, atoms in the same order, drift removed."""
    lattice = torch.where(a.pbc[0][:, None], a.cell[0], 0.0)
    other = torch.where(b.pbc[0][:, None], b.cell[0], 0.0)
    displacement = b.positions @ torch.linalg.pinv(other) @ lattice - a.positions @ torch.linalg.pinv(lattice) @ lattice
    if bool(a.pbc.any()):
        turns = displacement @ torch.linalg.pinv(lattice)
        displacement = (turns - torch.round(turns - turns[:1]) - turns[:1]) @ lattice
    if not bool(a.pbc.all()):
        flat = torch.eye(3, dtype=torch.float64) - torch.linalg.pinv(lattice) @ lattice
        displacement = displacement + (b.positions - a.positions) @ flat
    displacement = displacement - displacement.mean(dim=0)
    return float((displacement.square().sum(dim=1).mean() + (other - lattice).square().mean()).sqrt())
