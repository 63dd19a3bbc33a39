"""Many labelled structures as a few arrays: batches are gathered, not put together frame by frame."""

from collections.abc import Mapping, Sequence
from typing import overload

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from groundstate.atoms import LevelOfTheory, System, quantity
from groundstate.atoms.elements import periodic_table
from groundstate.data.batch import Batch
from groundstate.data.record import Record


class Columns(Sequence[Record]):
    """Crystals (periods in all directions) with labels, all of one level of theory and each with every label.

    It is a sequence of records like any other; `batch` gathers many at once, on the device the arrays are on, which is
    what keeps a GPU busy. ptr: first atom of each structure, and the end. labels: as in the table of quantities, with
    the axis of atoms or structures first. Checked: tests/data/test_columns.py
    """

    def __init__(
        self,
        numbers: Integer[Tensor, " atom"],
        positions: Float[Tensor, "atom 3"],
        ptr: Int[Tensor, " boundary"],
        cells: Float[Tensor, "system 3 3"],
        labels: Mapping[str, Tensor],
        theory: LevelOfTheory | None = None,
    ) -> None:
        self.numbers, self.positions, self.ptr, self.cells = numbers, positions, ptr, cells
        self.labels, self.theory = dict(labels), theory
        self.n_atoms = (ptr[1:] - ptr[:-1]).tolist()

    def __len__(self) -> int:
        return len(self.n_atoms)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        batch = self.batch([range(len(self))[index]])
        labels = {n: value if quantity(n).per == "atom" else value[0] for n, value in batch.labels.items()}
        return Record(batch.system, labels, theory=self.theory)

    def to(self, device: torch.device | str) -> "Columns":
        """The same on another device."""
        labels = {name: value.to(device) for name, value in self.labels.items()}
        numbers, positions, ptr, cells = (
            array.to(device) for array in (self.numbers, self.positions, self.ptr, self.cells)
        )
        return Columns(numbers, positions, ptr, cells, labels, self.theory)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The structures of these indices, with their labels; float64 whatever the arrays are kept in."""
        device = self.ptr.device
        chosen = torch.tensor(indices, device=device)
        start = self.ptr[chosen]
        counts = self.ptr[chosen + 1] - start
        ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        total = sum(self.n_atoms[i] for i in indices)
        atoms = torch.arange(total, device=device)
        atoms = atoms + torch.repeat_interleave(start - ptr[:-1], counts, output_size=total)
        numbers = self.numbers[atoms].to(torch.int64)
        masses = torch.tensor([0.0, *(row.mass for row in periodic_table())], dtype=torch.float64, device=device)
        system = System(
            positions=self.positions[atoms].to(torch.float64),
            numbers=numbers,
            system_ptr=ptr,
            cell=self.cells[chosen].to(torch.float64),
            pbc=torch.ones(len(counts), 3, dtype=torch.bool, device=device),
            masses=masses[numbers],
        )
        labels = {
            name: value[atoms if quantity(name).per == "atom" else chosen].to(torch.float64)
            for name, value in self.labels.items()
        }
        known = torch.ones(len(counts), dtype=torch.bool, device=device)
        return Batch(system, labels, dict.fromkeys(labels, known))
