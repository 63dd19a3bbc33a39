"""Distances between atoms: the topology of a `Graph` with the positions of a `System`, differentiable in both."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.atoms.errors import OptionError
from groundstate.atoms.neighbours import Graph, find_neighbours
from groundstate.atoms.system import System


@dataclass(frozen=True, eq=False)
class Edges:
    """Ordered pairs within one cutoff. vectors r_ij = r_j + shift·cell − r_i (Å), float64; distances |r_ij| > 0."""

    receivers: Int[Tensor, " edge"]
    senders: Int[Tensor, " edge"]
    shifts: Int[Tensor, "edge 3"]
    receiver_ptr: Int[Tensor, " boundary"]
    reverse: Int[Tensor, " edge"]
    vectors: Float[Tensor, "edge 3"]
    distances: Float[Tensor, " edge"]

    def sum_to_receivers(self, values: Float[Tensor, "edge *rest"]) -> Float[Tensor, "atom *rest"]:
        """Sum over each atom's neighbours."""
        n_atoms = self.receiver_ptr.shape[0] - 1
        total = torch.zeros((n_atoms, *values.shape[1:]), dtype=values.dtype, device=values.device)
        return total.index_add(0, self.receivers, values)


class Geometry:
    """What a term may ask about space: the edges within its own cutoff, computed once per cutoff.

    The system's positions and cell may carry gradients; they flow into every vector.

    first_order   only first derivatives by positions and cell will be taken: no second ones, none by parameters
    by_edge       derivatives by the vectors of edges will be taken (`measured`)
    """

    def __init__(self, system: System, graph: Graph, *, first_order: bool = False, by_edge: bool = False) -> None:
        self.system, self.graph, self.first_order, self.by_edge = system, graph, first_order, by_edge
        self._edges: dict[float, Edges] = {}

    @classmethod
    def of(cls, system: System, cutoff: float) -> "Geometry":
        """Geometry of a system complete up to `cutoff` (Å)."""
        return cls(system, find_neighbours(system, cutoff))

    def edges(self, cutoff: float) -> Edges:
        """All pairs closer than `cutoff` (Å); pairs of the skin are not among them."""
        if cutoff > self.graph.cutoff + 1e-9:
            raise OptionError(
                "E-CUTOFF",
                f"edges to {cutoff} Å were asked of a graph that is complete to {self.graph.cutoff} Å",
                why="neighbours would be missing",
                fix="build the graph with the largest cutoff of all terms",
            )
        if cutoff not in self._edges:
            self._edges[cutoff] = self._measure(cutoff)
        return self._edges[cutoff]

    def measured(self) -> list[Edges]:
        """Every set of edges a term has asked for so far."""
        return list(self._edges.values())

    def _measure(self, cutoff: float) -> Edges:
        graph, positions, cell = self.graph, self.system.positions, self.system.cell
        ends = (graph.receivers, graph.senders, graph.shifts)
        reverse, ptr = graph.reverse, graph.receiver_ptr
        with torch.no_grad():
            far = _vectors(positions, cell, *ends, self.system.system_index)
            near = torch.linalg.vecdot(far, far) < cutoff**2
        if not bool(near.all()):
            # r_ij and −r_ji may differ in the last digit; an edge stays only with its reverse.
            near &= near[reverse]
            kept = near.nonzero()[:, 0]
            renumbered = near.cumsum(0) - 1
            ends = (graph.receivers[kept], graph.senders[kept], graph.shifts[kept])
            reverse = renumbered[reverse[kept]]
            counts = torch.bincount(ends[0], minlength=self.system.n_atoms)
            ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        vectors = _vectors(positions, cell, *ends, self.system.system_index)
        return Edges(*ends, ptr, reverse, vectors, torch.linalg.vector_norm(vectors, dim=-1))


def _vectors(
    positions: Float[Tensor, "atom 3"],
    cell: Float[Tensor, "system 3 3"],
    receivers: Int[Tensor, " edge"],
    senders: Int[Tensor, " edge"],
    shifts: Int[Tensor, "edge 3"],
    system_index: Int[Tensor, " atom"],
) -> Float[Tensor, "edge 3"]:
    if len(cell) == 1:
        translations = shifts.to(cell.dtype) @ cell[0]
    else:
        translations = (shifts.to(cell.dtype)[:, None, :] @ cell[system_index[receivers]])[:, 0]
    return positions.index_select(0, senders) - positions.index_select(0, receivers) + translations
