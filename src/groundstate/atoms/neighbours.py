"""Which atoms see which: neighbour lists for every cell, by vesin's cell list or by brute force.

Convention: edge e points from receiver i to sender j, r_ij = r_j + shift·cell − r_i. Edges are sorted by receiver, then
sender, then shift, so sums over neighbours are segment sums in a fixed order; `reverse[e]` is the edge j → i of −shift.
Checked: tests/atoms/test_neighbours.py (one property suite over both methods).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from vesin import NeighborList

from groundstate.atoms.all_pairs import Candidates, all_pairs, candidates
from groundstate.atoms.errors import OptionError
from groundstate.atoms.system import System

Method = Literal["automatic", "cell_list", "brute_force", "all_pairs"]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Graph:
    """All ordered pairs closer than `cutoff` (Å), periodic images included, an atom's own images too. Integers only."""

    receivers: Int[Tensor, " edge"]
    senders: Int[Tensor, " edge"]
    shifts: Int[Tensor, "edge 3"]
    receiver_ptr: Int[Tensor, " boundary"]
    reverse: Int[Tensor, " edge"]
    cutoff: float

    @property
    def n_edges(self) -> int:
        """Number of ordered pairs."""
        return self.receivers.shape[0]

    def to(self, device: torch.device | str) -> "Graph":
        """The same graph on another device."""
        names = ("receivers", "senders", "shifts", "receiver_ptr", "reverse")
        return Graph(**{name: getattr(self, name).to(device) for name in names}, cutoff=self.cutoff)


@dataclass(frozen=True, eq=False)
class _Listed:
    """Sorted pairs of one system, local indices, with the permutation to their reverses."""

    receivers: NDArray[np.int64]
    senders: NDArray[np.int64]
    shifts: NDArray[np.int64]
    reverse: NDArray[np.int64]


MOST_CANDIDATES = 50_000_000
"""Pairs that are tried at once on a GPU: some ten GB of numbers on the way; with more, cell lists on the host."""


def find_neighbours(system: System, cutoff: float, *, method: Method = "automatic") -> Graph:
    """Neighbour graph of a batch, complete up to `cutoff` (Å); structures never see each other.

    "automatic": crystals on a GPU by trying all pairs there, unless they are many; all else by cell lists on the host.
    """
    if not cutoff > 0:
        raise OptionError("E-CUTOFF", f"a cutoff must be positive, got {cutoff} Å", fix="give a radius in Å, e.g. 5.0")
    tried = _few_candidates(system, cutoff, method)
    if tried is not None:
        return Graph(*all_pairs(system, cutoff, tried), cutoff=float(cutoff))
    method = "cell_list" if method in ("automatic", "all_pairs") else method
    singles = [system] if system.n_systems == 1 else system
    return _assemble([_list_one(single, cutoff, method) for single in singles], system, cutoff)


def join_graphs(graphs: Sequence[Graph], system: System, cutoff: float) -> Graph:
    """One graph of a batch from those of its structures, in order: what `find_neighbours` gives for the batch."""
    atom_offset, edge_offset = 0, 0
    receivers, senders, pointers, reverse = [], [], [system.system_ptr.new_zeros(1)], []
    for graph, n_atoms in zip(graphs, system.atoms_per_system.tolist(), strict=True):
        receivers.append(graph.receivers + atom_offset)
        senders.append(graph.senders + atom_offset)
        pointers.append(graph.receiver_ptr[1:] + edge_offset)
        reverse.append(graph.reverse + edge_offset)
        atom_offset += n_atoms
        edge_offset += graph.n_edges
    shifts = torch.cat([graph.shifts for graph in graphs])
    return Graph(torch.cat(receivers), torch.cat(senders), shifts, torch.cat(pointers), torch.cat(reverse), cutoff)


def count_edges(single: System, cutoff: float) -> int:
    """Ordered pairs closer than `cutoff` (Å) in one structure, at less than half the price of listing them."""
    return 2 * len(_METHODS["cell_list"](*_near_origin(single)[:3], cutoff)[0])


def pair_distances(single: System, cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Each unordered pair of one structure closer than `cutoff` (Å) once: atom, atom and distance, and no graph."""
    positions, cell, periodic, _ = _near_origin(single)
    first, second, shifts = _METHODS["cell_list"](positions, cell, periodic, cutoff)
    return first, second, np.linalg.norm(positions[second] - positions[first] + shifts @ cell, axis=1)


def _few_candidates(system: System, cutoff: float, method: Method) -> Candidates | None:
    if not (method == "all_pairs" or (method == "automatic" and system.device.type == "cuda")):
        return None
    if not bool(system.pbc.all()) or not bool((system.volume > 0).all()):
        return None
    tried = candidates(system, cutoff)
    return tried if int(tried.counts.sum()) <= MOST_CANDIDATES else None


def complete_cell(single: System) -> NDArray[np.float64]:
    """Lattice rows of one structure, each non-periodic one replaced by a unit vector normal to the periodic ones."""
    rows = single.cell[0].detach().cpu().numpy().astype(np.float64).copy()
    periodic = single.pbc[0].cpu().numpy()
    if periodic.all():
        return rows
    rows[~periodic] = 0.0
    # The right singular vectors beyond the rank span what the periodic vectors leave free.
    free = np.linalg.svd(rows)[2][int(periodic.sum()) :]
    rows[~periodic] = free
    return rows


def _near_origin(
    single: System,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Positions near the origin, cell, periods, and by how many cells each atom was moved.

    Atoms many cells outside, or a molecule far away, must cost nothing and lose no digit.
    """
    cell, periodic = complete_cell(single), single.pbc[0].cpu().numpy()
    positions = single.positions.detach().cpu().numpy()
    fractional = np.linalg.solve(cell.T, positions.T).T
    wraps = np.where(periodic, np.floor(fractional), 0.0)
    local = positions - wraps @ cell
    if len(local):
        lowest = np.linalg.solve(cell.T, local.T).T.min(axis=0)
        local = local - np.where(periodic, 0.0, lowest) @ cell
    return local, cell, periodic, wraps


def _list_one(single: System, cutoff: float, method: Method) -> _Listed:
    local, cell, periodic, wraps = _near_origin(single)
    first, second, shifts = _METHODS[method](local, cell, periodic, cutoff)
    receivers, senders = np.concatenate([first, second]), np.concatenate([second, first])
    listed = _sort(receivers, senders, np.concatenate([shifts, -shifts]), len(local))
    unwrapped = listed.shifts + (wraps[listed.receivers] - wraps[listed.senders]).astype(np.int64)
    return _Listed(listed.receivers, listed.senders, unwrapped, listed.reverse)


def _half_list_by_cells(
    positions: NDArray[np.float64], cell: NDArray[np.float64], periodic: NDArray[np.bool_], cutoff: float
) -> Pairs:
    """Each unordered pair once, by vesin."""
    if len(positions) == 0:
        return _no_pairs()
    search = NeighborList(cutoff=cutoff, full_list=False)
    i, j, shifts = search.compute(positions, cell, periodic, quantities="ijS")
    return i.astype(np.int64), j.astype(np.int64), shifts.astype(np.int64).reshape(-1, 3)


def _half_list_by_force(
    positions: NDArray[np.float64], cell: NDArray[np.float64], periodic: NDArray[np.bool_], cutoff: float
) -> Pairs:
    """Each unordered pair once, by trying all of them: the oracle."""
    if len(positions) == 0:
        return _no_pairs()
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = np.where(periodic, np.ceil(cutoff / heights).astype(int) + 1, 0)
    first, second, shifts = [], [], []
    for shift in product(*(range(-n, n + 1) for n in reach)):
        vectors = positions[None, :, :] + np.array(shift) @ cell - positions[:, None, :]
        near = (vectors**2).sum(-1) < cutoff**2
        near &= np.triu(np.ones_like(near), k=0 if shift > (0, 0, 0) else 1)
        i, j = np.nonzero(near)
        first.append(i)
        second.append(j)
        shifts.append(np.tile(np.array(shift), (len(i), 1)))
    return np.concatenate(first), np.concatenate(second), np.concatenate(shifts)


def _no_pairs() -> Pairs:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64)


_METHODS: dict[str, Callable[..., Pairs]] = {"cell_list": _half_list_by_cells, "brute_force": _half_list_by_force}


def _sort(receivers: NDArray[np.int64], senders: NDArray[np.int64], shifts: NDArray[np.int64], n_atoms: int) -> _Listed:
    """Sort a symmetric full list and find each edge's reverse, through one integer key per edge."""
    reach = int(np.abs(shifts).max(initial=0))

    keys = _keys(receivers, senders, shifts, n_atoms, reach)
    order = np.argsort(keys, kind="stable")
    receivers, senders, shifts = receivers[order], senders[order], shifts[order]
    reverse = np.searchsorted(keys[order], _keys(senders, receivers, -shifts, n_atoms, reach))
    return _Listed(receivers, senders, shifts, reverse.astype(np.int64))


def _keys(
    i: NDArray[np.int64], j: NDArray[np.int64], shifts: NDArray[np.int64], n_atoms: int, reach: int
) -> NDArray[np.int64]:
    """One integer per edge, ordered by receiver, sender, then shift."""
    value = i * n_atoms + j
    for axis in range(3):
        value = value * (2 * reach + 1) + shifts[:, axis] + reach
    return value


def _assemble(listed: list[_Listed], system: System, cutoff: float) -> Graph:
    atom_offsets = system.system_ptr.tolist()
    edge_offsets = np.concatenate([[0], np.cumsum([len(one.receivers) for one in listed])]).astype(np.int64)
    join = np.concatenate
    receivers = join([one.receivers + atom_offsets[s] for s, one in enumerate(listed)])
    counts = np.bincount(receivers, minlength=system.n_atoms)
    arrays = {
        "receivers": receivers,
        "senders": join([one.senders + atom_offsets[s] for s, one in enumerate(listed)]),
        "shifts": join([one.shifts for one in listed]),
        "receiver_ptr": join([[0], np.cumsum(counts)]).astype(np.int64),
        "reverse": join([one.reverse + edge_offsets[s] for s, one in enumerate(listed)]),
    }
    return Graph(**{name: torch.from_numpy(a).to(system.device) for name, a in arrays.items()}, cutoff=float(cutoff))
