"""From single records to the batches a potential sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from groundstate.atoms import Graph, System, quantity
from groundstate.data.packing import Limits, Sizes, pack
from groundstate.data.record import LazyRecords, Record


@dataclass(frozen=True, eq=False)
class Batch:
    """Structures with their labels, concatenated.

    labels[q] carries the leading system axis, or the atom axis of the whole batch; where a structure has no label the
    value is 0 and masks[q] is False for it. graph: the neighbours, where they were found ahead.
    """

    system: System
    labels: dict[str, Tensor]
    masks: dict[str, Bool[Tensor, " system"]]
    graph: Graph | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(
            self.system.to(device),
            {name: value.to(device) for name, value in self.labels.items()},
            {name: mask.to(device) for name, mask in self.masks.items()},
            None if self.graph is None else self.graph.to(device),
        )


def collate(records: Sequence[Record], indices: Sequence[int] | None = None) -> Batch:
    """Join records, or the chosen ones of them, into one batch; labels are the union of what they carry.

    Checked: tests/data/test_batches.py
    """
    if isinstance(records, LazyRecords):
        return records.collate(range(len(records)) if indices is None else indices)
    if indices is not None:
        records = [records[i] for i in indices]
    system = System.batch([record.system for record in records])
    labels: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for record in records for name in record.labels):
        labels[name] = _joined(name, records)
        masks[name] = torch.tensor([name in record.labels for record in records])
    return Batch(system, labels, masks)


def _joined(name: str, records: Sequence[Record]) -> Tensor:
    row = quantity(name)
    parts = []
    for record in records:
        shape = (record.n_atoms, *row.shape) if row.per == "atom" else (1, *row.shape)
        label = record.labels.get(name)
        parts.append(torch.zeros(shape, dtype=torch.float64) if label is None else label.reshape(shape))
    return torch.cat(parts)


def atom_counts(records: Sequence[Record]) -> list[int]:
    """Atoms of each record."""
    if isinstance(records, LazyRecords):
        counts: list[int] = records.atom_counts.tolist()
        return counts
    return [record.n_atoms for record in records]


def batches(
    records: Sequence[Record],
    *,
    max_atoms: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
) -> list[list[int]]:
    """`packing.pack` by structures or atoms alone, for which no neighbours need be counted."""
    atoms = np.asarray(atom_counts(records), dtype=np.int64)
    limits = Limits(batch_size=batch_size, max_atoms=max_atoms)
    return pack(Sizes(atoms, np.zeros_like(atoms)), limits, seed=seed, epoch=epoch, shuffle=shuffle)
