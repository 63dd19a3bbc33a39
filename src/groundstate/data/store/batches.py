"""A batch from rows of shards: each column joined once, no record made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from groundstate.atoms import System
from groundstate.data.batch import Batch, collate
from groundstate.data.store.columns import LABEL, STRUCTURE, known, standard_masses
from groundstate.data.store.shard import Shard


def gather(rows: Sequence[tuple[Shard, int]]) -> Batch:
    """The batch of frames of shards, equal to `collate` of their records."""
    if not rows:
        return collate([])
    gathered = _Gathered(rows)
    optional = {}
    for name, column in STRUCTURE.items():
        if column.nullable and name != "masses":
            values, present = gathered.column(name)
            if present.any() and not present.all():
                # Given for some and not for others: told by the one place that refuses it.
                return collate([shard.record(frame) for shard, frame in rows])
            if present.any():
                optional[name] = torch.from_numpy(values)
    numbers = gathered.required("numbers")
    system = System(
        positions=torch.from_numpy(gathered.required("positions")),
        numbers=torch.from_numpy(numbers.astype(np.int64)),
        system_ptr=torch.from_numpy(np.concatenate([[0], np.cumsum(gathered.counts)])),
        cell=torch.from_numpy(gathered.required("cell")),
        pbc=torch.from_numpy(gathered.required("pbc").view(np.bool_)),
        masses=torch.from_numpy(gathered.masses(numbers)),
        **optional,
    )
    labels, masks = {}, {}
    for name in dict.fromkeys(name for shard, _ in rows for name in shard.columns if name.startswith(LABEL)):
        values, present = gathered.column(name)
        if present.any():
            key = name.removeprefix(LABEL)
            labels[key], masks[key] = torch.from_numpy(values), torch.from_numpy(present)
    return Batch(system, labels, masks)


class _Gathered:
    """Columns of the chosen rows, joined."""

    def __init__(self, rows: Sequence[tuple[Shard, int]]) -> None:
        self._rows = rows
        counts = [shard.offsets[frame + 1] - shard.offsets[frame] for shard, frame in rows]
        self.counts = np.array(counts, dtype=np.int64)

    def required(self, name: str) -> NDArray[Any]:
        """A column that every row has."""
        parts = [shard.columns[name].of(frame) for shard, frame in self._rows]
        return np.concatenate([part for part in parts if part is not None])

    def column(self, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A column with zeros where it is null, and the mask of the rows that have it."""
        parts = [shard.columns[name].of(frame) if name in shard.columns else None for shard, frame in self._rows]
        present = np.array([part is not None for part in parts])
        if not present.any():
            return np.zeros(0), present
        column = known()[name]
        lengths = self.counts.tolist() if column.per == "atom" else [1] * len(parts)
        filled = [
            np.zeros((length, *column.shape), column.dtype) if part is None else part
            for part, length in zip(parts, lengths, strict=True)
        ]
        return np.concatenate(filled), present

    def masses(self, numbers: NDArray[Any]) -> NDArray[np.float64]:
        """Standard masses where none were stated."""
        standard: NDArray[np.float64] = standard_masses()[numbers]
        values, present = self.column("masses")
        if not present.any():
            return standard
        return np.where(np.repeat(present, self.counts), values, standard)
