"""A data set as arrays: what all checks look at, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from groundstate.atoms import find_neighbours
from groundstate.atoms.elements import periodic_table
from groundstate.data.record import Record
from groundstate.data.split import composition, fingerprint

Floats = NDArray[np.float64]
REACH = 5.0
"""Å; pairs of atoms that the checks of distances look at."""
_FARTHEST = 40.0
_CROWD = 100.0
"""A cube of so many atoms is seen at most: of lengths in another unit all atoms would be neighbours."""
UNSTATED = "not stated"
_RADII = np.array([np.nan, *(row.covalent_radius for row in periodic_table())])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Unordered pairs of one frame within `REACH`, periodic images included: atoms, distance Å, distance over the sum
    of covalent radii."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: Floats
    ratio: Floats


@dataclass(frozen=True, eq=False)
class Frames:
    """Records in order, with their numbers as arrays. Energies, stresses are NaN where a frame has none."""

    records: tuple[Record, ...]

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Frames":
        """The frames of these records."""
        return cls(tuple(records))

    def __len__(self) -> int:
        return len(self.records)

    def then(self, other: "Frames") -> "Frames":
        """These frames and others behind them, with what is known of both."""
        both = Frames((*self.records, *other.records))
        both.__dict__.update({name: [*getattr(self, name), *getattr(other, name)] for name in ("pairs", "fingerprint")})
        return both

    @cached_property
    def n_atoms(self) -> NDArray[np.int64]:
        """[frame]"""
        return np.array([record.n_atoms for record in self.records], dtype=np.int64)

    @cached_property
    def numbers(self) -> list[NDArray[np.int64]]:
        """Atomic numbers of each frame."""
        return [record.system.numbers.cpu().numpy() for record in self.records]

    @cached_property
    def positions(self) -> list[Floats]:
        """Å, [atom, 3] of each frame."""
        return [record.system.positions.detach().cpu().numpy() for record in self.records]

    @cached_property
    def cell(self) -> Floats:
        """Å, [frame, 3, 3]."""
        return np.stack([record.system.cell[0].detach().cpu().numpy() for record in self.records])

    @cached_property
    def pbc(self) -> NDArray[np.bool_]:
        """[frame, 3]"""
        return np.stack([record.system.pbc[0].cpu().numpy() for record in self.records])

    @cached_property
    def volume(self) -> Floats:
        """Å³, [frame]; NaN where not periodic in all directions."""
        return np.where(self.pbc.all(axis=1), np.abs(np.linalg.det(self.cell)), np.nan)

    @cached_property
    def energy(self) -> Floats:
        """eV, [frame]."""
        return np.array([float(r.labels["energy"]) if "energy" in r.labels else np.nan for r in self.records])

    @cached_property
    def forces(self) -> list[Floats | None]:
        """eV/Å, [atom, 3] of each frame that has them."""
        return [r.labels["forces"].cpu().numpy() if "forces" in r.labels else None for r in self.records]

    @cached_property
    def stress(self) -> Floats:
        """eV/Å³, [frame, 3, 3]."""
        none = np.full((3, 3), np.nan)
        return np.stack([r.labels["stress"].cpu().numpy() if "stress" in r.labels else none for r in self.records])

    @cached_property
    def theory(self) -> list[str]:
        """Identity of each frame's level of theory."""
        return [UNSTATED if record.theory is None else record.theory.id for record in self.records]

    @cached_property
    def composition(self) -> list[str]:
        """Reduced formula of each frame."""
        return [composition(record.system) for record in self.records]

    @cached_property
    def fingerprint(self) -> list[str]:
        """Equal for copies; see `data.split.fingerprint`."""
        return [fingerprint(record.system) for record in self.records]

    @cached_property
    def pairs(self) -> list[Pairs]:
        """Neighbours of each frame."""
        return [pairs_within(record, REACH) for record in self.records]

    @cached_property
    def _reach(self) -> dict[int, float]:
        return {}

    def reach(self, index: int) -> float:
        """Å; a distance within which all parts of a frame see each other, so that none can move unnoticed."""
        if index not in self._reach:
            self._reach[index] = _connecting(self.records[index], self.pairs[index])
        return self._reach[index]

    @cached_property
    def _sorted(self) -> dict[tuple[int, float], dict[int, Floats]]:
        return {}

    def sorted_distances(self, index: int, reach: float) -> dict[int, Floats]:
        """Distances of one frame within a reach in rising order, by the pair of elements they are between."""
        if (index, reach) not in self._sorted:
            pairs = self.pairs[index] if reach <= REACH else pairs_within(self.records[index], reach)
            ends = self.numbers[index][np.stack([pairs.first, pairs.second])]
            kinds = 1000 * ends.min(axis=0) + ends.max(axis=0)
            self._sorted[index, reach] = {
                int(kind): np.sort(pairs.distance[kinds == kind]) for kind in np.unique(kinds)
            }
        return self._sorted[index, reach]

    def tag(self, key: str) -> list[str | None]:
        """The value of a tag in each frame."""
        return [record.provenance.tags.get(key) for record in self.records]

    def where(self, index: int) -> str:
        """`file:frame` of a record, as far as it is known."""
        source = self.records[index].provenance
        return str(index) if source.file is None else f"{source.file}:{source.frame}"


def pairs_within(record: Record, reach: float) -> Pairs:
    """Unordered pairs of one structure closer than `reach` (Å), or nearer where that would be more than a crowd."""
    volume = float(record.system.volume[0])
    if volume > 0 and bool(record.system.pbc.all()):
        reach = min(reach, (_CROWD * volume / record.n_atoms) ** (1 / 3))
    system, graph = record.system, find_neighbours(record.system, reach)
    first, second = graph.receivers.numpy(), graph.senders.numpy()
    # Of an edge and its reverse the first stays; an atom and its own image are each other's reverse too.
    once = np.arange(len(first)) < graph.reverse.numpy()
    first, second, shifts = first[once], second[once], graph.shifts.numpy()[once]
    at, z = system.positions.detach().cpu().numpy(), system.numbers.cpu().numpy()
    vectors = at[second] - at[first] + shifts @ system.cell[0].detach().cpu().numpy()
    distance = np.sqrt((vectors**2).sum(axis=1))
    return Pairs(first, second, distance, distance / (_RADII[z[first]] + _RADII[z[second]]))


def _connecting(record: Record, pairs: Pairs) -> float:
    reach, n = REACH, record.n_atoms
    while n > 1 and reach < _FARTHEST:
        graph = coo_array((np.ones(len(pairs.first)), (pairs.first, pairs.second)), shape=(n, n))
        if connected_components(graph, directed=False)[0] == 1:
            break
        reach *= 1.5
        pairs = pairs_within(record, reach)
    return reach


def groups(keys: Sequence[object]) -> dict[object, NDArray[np.int64]]:
    """Indices of the frames that share a key, in order of appearance."""
    found: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        found.setdefault(key, []).append(index)
    return {key: np.array(members) for key, members in found.items()}


def robust_spread(values: Floats) -> float:
    """1.4826 × the median absolute deviation: the standard deviation where values are Gaussian, unmoved by outliers."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0
