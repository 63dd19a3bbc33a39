"""Forces for a batch that moves: neighbour lists reused while they are complete, failures kept to their structure."""

from collections.abc import Sequence

import torch
from torch import Tensor

from groundstate.atoms import Graph, GroundstateError, System, find_neighbours
from groundstate.potentials import Potential, evaluate


class Engine:
    """A potential with the neighbour lists of the structures that are under way.

    A structure's list reaches `potential.cutoff + skin` (Å) and serves while ‖D⁻¹‖(cutoff + 2u) ≤ cutoff + skin, where
    D deforms its lattice at the time of listing into the present one and u is the largest displacement from the
    deformed positions. The test is one batched operation. `select` and `extend` follow the structures of the batch.
    Checked: tests/simulation/test_engine.py
    """

    def __init__(self, potential: Potential, skin: float) -> None:
        self.potential = potential
        self.cutoff = potential.cutoff
        self.reach = max(self.cutoff + skin, 0.1)
        self.builds = 0
        self._listed: list[Graph | None] = []
        self._reference: System | None = None
        self._inverse_cell: Tensor | None = None
        self._joined: Graph | None = None
        self.latest: Graph | None = None
        """The graph of the latest evaluation, `None` when structures were evaluated one by one."""

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
        """A graph of this batch, complete to the potential's cutoff."""
        self._listed += [None] * (system.n_systems - len(self._listed))
        if stale := self._stale(system):
            self._update(system, stale)
        if self._joined is None:
            self._joined = _join([listed for listed in self._listed if listed is not None], system, self.reach)
        return self._joined

    def evaluate(self, system: System, want: Sequence[str]) -> tuple[dict[str, Tensor], dict[int, GroundstateError]]:
        """Quantities of the batch, and the structures the potential refuses, whose rows are NaN."""
        try:
            self.latest = self.graph(system)
            return evaluate(self.potential, system, want, graph=self.latest), {}
        except (GroundstateError, torch.linalg.LinAlgError):
            self.latest = None
            return self._one_by_one(system, want)

    def _one_by_one(self, system: System, want: Sequence[str]) -> tuple[dict[str, Tensor], dict[int, GroundstateError]]:
        parts, errors = [], {}
        for s, single in enumerate(system):
            try:
                parts.append(evaluate(self.potential, single, want))
            except (GroundstateError, torch.linalg.LinAlgError) as error:
                errors[s] = (
                    error
                    if isinstance(error, GroundstateError)
                    else GroundstateError("E-RESULT-NOT-FINITE", f"the potential failed: {error}")
                )
                nan = torch.full((single.n_atoms, 3, 3), torch.nan, dtype=torch.float64, device=single.device)
                rows = {"energy": nan[:1, 0, 0], "forces": nan[:, :, 0], "strain_gradient": nan[:1]}
                parts.append({name: rows[name] for name in want})
        return {name: torch.cat([part[name] for part in parts]) for name in want}, errors

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


def _join(graphs: Sequence[Graph], system: System, cutoff: float) -> Graph:
    """One graph of a batch from those of its structures; edges stay sorted by receiver."""
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
