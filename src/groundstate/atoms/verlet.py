"""Neighbour lists that are rebuilt only when they could have become incomplete."""

from collections.abc import Sequence

import torch
from torch import Tensor

from groundstate.atoms.errors import OptionError
from groundstate.atoms.neighbours import Graph, find_neighbours, join_graphs
from groundstate.atoms.system import System


class VerletList:
    """The neighbour lists of structures that move.

    A structure's list reaches `cutoff + skin` (Å) and serves while ‖D⁻¹‖(cutoff + 2u) ≤ cutoff + skin, where D deforms
    its lattice at the time of listing into the present one and u is the largest displacement from the deformed
    positions, a common translation apart. Each structure is judged alone, in one batched operation; `select` and
    `extend` follow the structures of a batch that changes. Checked: tests/atoms/test_neighbours.py
    """

    def __init__(self, cutoff: float, skin: float = 0.0) -> None:
        if skin < 0:
            raise OptionError("E-CUTOFF", f"a skin cannot be negative, got {skin} Å", fix="use 0 to rebuild each time")
        self.cutoff = cutoff
        self.reach = max(cutoff + skin, 0.1)
        self.builds = 0
        self._listed: list[Graph | None] = []
        self._reference: System | None = None
        self._inverse_cell: Tensor | None = None
        self._joined: Graph | None = None
        self._served: System | None = None

    def select(self, systems: Sequence[int]) -> None:
        """Keep the lists of these structures only."""
        self._listed = [self._listed[s] for s in systems]
        self._joined, self._inverse_cell = None, None
        if self._reference is not None:
            self._reference = self._reference.select(systems) if systems else None

    def extend(self, count: int) -> None:
        """Structures were added at the end of the batch."""
        self._listed += [None] * count
        self._joined = None

    def graph(self, system: System) -> Graph:
        """A graph of this batch, complete up to `cutoff` for these positions."""
        if system is self._served and self._joined is not None:
            return self._joined
        now = system.replace(positions=system.positions.detach(), cell=system.cell.detach())
        if not self._same_atoms(now):
            self._listed, self._reference, self._inverse_cell, self._joined = [], None, None, None
        self._listed += [None] * (now.n_systems - len(self._listed))
        if stale := self._stale(now):
            self._update(now, stale)
        if self._joined is None:
            self._joined = join_graphs([listed for listed in self._listed if listed is not None], now, self.reach)
        self._served = system
        return self._joined

    def reaching(self, system: System, cutoff: float) -> Graph:
        """A graph of this batch complete up to another cutoff: the list where it reaches that far, else a new one."""
        return self.graph(system) if cutoff <= self.cutoff else find_neighbours(system, cutoff)

    def _same_atoms(self, now: System) -> bool:
        """Whether the listed structures are the first of this batch: same elements, sizes and periods."""
        then = self._reference
        if then is None:
            return True
        n_atoms, n_systems = then.n_atoms, then.n_systems
        return (
            n_systems <= now.n_systems
            and torch.equal(then.system_ptr, now.system_ptr[: n_systems + 1])
            and torch.equal(then.numbers, now.numbers[:n_atoms])
            and torch.equal(then.pbc, now.pbc[:n_systems])
        )

    def _stale(self, system: System) -> list[int]:
        reference, inverse = self._reference, self._inverse_cell
        if reference is None:
            return list(range(system.n_systems))
        known = reference.n_systems
        n_atoms = reference.n_atoms
        owner = reference.system_index
        if inverse is None or inverse.shape[0] != known:
            inverse = self._inverse_cell = torch.linalg.pinv(reference.cell * reference.pbc[:, :, None])
        identity = torch.eye(3, dtype=torch.float64, device=system.device)
        before = reference.cell * reference.pbc[:, :, None]
        after = system.cell[:known] * system.pbc[:known, :, None]
        deform = identity + inverse @ (after - before)
        moved = system.positions[:n_atoms] - (reference.positions[:, None, :] @ deform[owner])[:, 0]
        moved = moved - (reference.sum_over_atoms(moved) / reference.atoms_per_system[:, None])[owner]
        squared = torch.zeros(known, dtype=torch.float64, device=system.device)
        furthest = squared.scatter_reduce(0, owner, (moved**2).sum(1), "amax").sqrt()
        stretch = 1 / torch.linalg.svdvals(deform).amin(dim=1)
        valid = stretch * (self.cutoff + 2 * furthest) <= self.reach
        return [s for s, good in enumerate(valid.tolist()) if not good] + list(range(known, system.n_systems))

    def _update(self, system: System, stale: list[int]) -> None:
        for s in stale:
            self._listed[s] = find_neighbours(system[s], self.reach)
        self.builds += len(stale)
        self._joined, self._inverse_cell = None, None
        if self._reference is None or len(stale) == system.n_systems:
            self._reference = system
            return
        fresh = set(stale)
        kept = self._reference
        self._reference = System.batch([system[s] if s in fresh else kept[s] for s in range(system.n_systems)])
