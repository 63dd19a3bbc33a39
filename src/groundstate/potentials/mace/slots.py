"""Neighbours in rows of equal length, so that a sum over neighbours is a batched matrix product."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.atoms import Edges

_COST_OF_ROW = 4
"""What one more row costs, in slots; sets how eagerly long neighbour lists are split."""
_MOST_ROWS_PER_ATOM = 16


@dataclass(frozen=True, eq=False)
class Slots:
    """The edges of a batch in `rows · width` slots; each atom owns one row or, with many neighbours, several.

    Slots without an edge hold a neighbour that is too far away to count: atom 0 at `2 · cutoff`, where every radial
    function and its derivatives are exactly zero. senders, receivers: atom of each slot. atom_of_row: None when row and
    atom coincide. vectors: r_ij in Å in the dtype of the network; they carry the gradients of the geometry.
    """

    width: int
    senders: Int[Tensor, " slot"]
    receivers: Int[Tensor, " slot"]
    atom_of_row: Int[Tensor, " row"] | None
    vectors: Float[Tensor, "slot 3"]

    @property
    def rows(self) -> int:
        """Rows in all; at least one per atom."""
        return len(self.senders) // self.width

    @classmethod
    def of(cls, edges: Edges, cutoff: float, dtype: torch.dtype) -> "Slots":
        """Slots of all edges within the cutoff (Å)."""
        ptr, n_edges = edges.receiver_ptr, len(edges.receivers)
        counts = ptr[1:] - ptr[:-1]
        width = _best_width(counts)
        rows_of_atom = ((counts + (width - 1)) // width).clamp_min(1)
        last_row = rows_of_atom.cumsum(0)
        n_rows = int(last_row[-1])
        first_slot = width * (last_row - rows_of_atom)
        slot_of_edge = torch.arange(n_edges, device=ptr.device) + (first_slot - ptr[:-1])[edges.receivers]
        edge = torch.full((n_rows * width,), n_edges, device=ptr.device)
        edge[slot_of_edge] = torch.arange(n_edges, device=ptr.device)
        split = n_rows > len(counts)
        atoms = torch.arange(len(counts), device=ptr.device)
        atom_of_row = torch.repeat_interleave(atoms, rows_of_atom, output_size=n_rows) if split else atoms
        far = torch.tensor([[0.0, 0.0, 2.0 * cutoff]], dtype=dtype, device=ptr.device)
        return cls(
            width=width,
            senders=torch.cat([edges.senders, edges.senders.new_zeros(1)])[edge],
            receivers=torch.repeat_interleave(atom_of_row, width, output_size=n_rows * width),
            atom_of_row=atom_of_row if split else None,
            vectors=torch.cat([edges.vectors.to(dtype), far]).index_select(0, edge),
        )

    def sum_rows(
        self, values: Float[Tensor, "component row *rest"], n_atoms: int
    ) -> Float[Tensor, "component atom *rest"]:
        """Add up the rows of each atom."""
        if self.atom_of_row is None:
            return values
        total = values.new_zeros(values.shape[0], n_atoms, *values.shape[2:])
        return total.index_add(1, self.atom_of_row, values)


def _best_width(counts: Int[Tensor, " atom"]) -> int:
    """The row length that wastes least, counting empty slots and the overhead of rows."""
    longest = int(counts.max())
    widths = sorted({max(1, -(-longest // pieces)) for pieces in range(1, _MOST_ROWS_PER_ATOM + 1)})
    tried = torch.tensor(widths, device=counts.device)
    rows = ((counts[None, :] + tried[:, None] - 1) // tried[:, None]).clamp_min(1).sum(dim=1)
    return widths[int((rows * (tried + _COST_OF_ROW)).argmin())]
