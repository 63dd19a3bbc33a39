"""From single records to the batches a potential sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from groundstate.atoms import OptionError, System, quantity
from groundstate.data.record import Record

_OPEN_BATCHES = 16
"""Batches kept open while packing: enough to fill to a few per cent, few enough that batches stay random."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Structures with their labels, concatenated.

    labels[q] carries the leading system axis, or the atom axis of the whole batch; where a structure has no label the
    value is 0 and masks[q] is False for it.
    """

    system: System
    labels: dict[str, Tensor]
    masks: dict[str, Bool[Tensor, " system"]]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(
            self.system.to(device),
            {name: value.to(device) for name, value in self.labels.items()},
            {name: mask.to(device) for name, mask in self.masks.items()},
        )


def collate(records: Sequence[Record]) -> Batch:
    """Join records into one batch; labels are the union of what the records carry. Checked: tests/data/test_batch.py"""
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


def batches(
    records: Sequence[Record],
    *,
    max_atoms: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
) -> list[list[int]]:
    """Indices of the records of each batch: every record once, the same for the same seed and epoch.

    `max_atoms` packs structures so that a batch costs about the same whatever their sizes (a structure larger than that
    is a batch of its own); `batch_size` takes a fixed number of structures. Exactly one of them is given.
    """
    limit = max_atoms if batch_size is None else batch_size
    if (max_atoms is None) == (batch_size is None) or limit is None or limit < 1:
        raise OptionError(
            "E-BATCH-SIZE",
            f"batches need one positive limit, got max_atoms={max_atoms}, batch_size={batch_size}",
            fix="give max_atoms (atoms per batch) or batch_size (structures per batch)",
        )
    order = list(range(len(records)))
    # One stream of random numbers per (seed, epoch): an epoch can be rebuilt without playing the earlier ones.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    if shuffle:
        order = torch.randperm(len(records), generator=generator).tolist()
    if max_atoms is None:
        return [order[start : start + limit] for start in range(0, len(order), limit)]
    packed = _packed(order, _sizes(records), limit, _OPEN_BATCHES if shuffle else 1)
    if shuffle:
        packed = [packed[i] for i in torch.randperm(len(packed), generator=generator).tolist()]
    return packed


def gather(records: Sequence[Record], indices: Sequence[int]) -> Batch:
    """The batch of these records; a set that keeps its structures in columns gathers it itself."""
    batch = getattr(records, "batch", None)
    return collate([records[i] for i in indices]) if batch is None else batch(indices)


def _sizes(records: Sequence[Record]) -> list[int]:
    sizes: list[int] | None = getattr(records, "n_atoms", None)
    return [record.n_atoms for record in records] if sizes is None else sizes


def _packed(order: Sequence[int], costs: Sequence[int], limit: int, n_open: int) -> list[list[int]]:
    """Best fit into a few open batches; the fullest is closed when nothing fits."""
    closed: list[list[int]] = []
    open_batches: list[list[int]] = []
    loads: list[int] = []
    for index in order:
        fitting = [b for b, load in enumerate(loads) if load + costs[index] <= limit]
        if fitting:
            best = max(fitting, key=lambda b: loads[b])
            open_batches[best].append(index)
            loads[best] += costs[index]
            continue
        if len(open_batches) == n_open:
            fullest = max(range(n_open), key=lambda b: loads[b])
            closed.append(open_batches.pop(fullest))
            loads.pop(fullest)
        open_batches.append([index])
        loads.append(costs[index])
    return closed + open_batches
