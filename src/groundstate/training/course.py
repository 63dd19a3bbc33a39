"""The steps of a run over one set of records: which structures, in which order, on which process and in what pieces."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from groundstate.atoms import count_edges
from groundstate.data import Batch, Limits, Record, Sizes, deal, pack
from groundstate.training.aims import Aim
from groundstate.training.config import TrainConfig
from groundstate.training.feed import Feed, ahead

_PLANNED = 200_000
"""Records whose batches are planned in search of the largest."""


@dataclass(frozen=True)
class Step:
    """One step of the optimiser, or of an evaluation.

    number of `of` in its epoch · indices of its records · pieces: those of this process, computed one after another
    """

    number: int
    of: int
    indices: list[int]
    pieces: list[list[int]]


class Course:
    """A set of records, what each costs, and its division into steps.

    A step is divided by cost into `accumulate` pieces for each process. What is learned does not depend on how, because
    losses are sums over components divided by counts, and the counts of a whole step are known before it begins.
    """

    def __init__(self, fabric: Any, records: Sequence[Record], cutoff: float, aim: Aim, config: TrainConfig) -> None:
        self._config, self._rank, self._world = config, fabric.global_rank, fabric.world_size
        self._feed = Feed(
            records, cutoff, cache_bytes=config.neighbour_cache_MB * 10**6, device=getattr(fabric, "device", None)
        )
        self._names = tuple(aim.weights)
        columns = self._measured(fabric, records, cutoff, aim)
        self.sizes = Sizes(columns[:, 0], columns[:, 1])
        self._counts = columns[:, 2:]
        by_size = config.max_atoms is not None or config.max_edges is not None
        self._limits = Limits(None if by_size else config.batch_size, config.max_atoms, config.max_edges)

    def epoch(self, epoch: int) -> list[list[int]]:
        """The batches of a pass through the records in random order, the same for the same seed and epoch."""
        return pack(self.sizes, self._limits, seed=self._config.seed, epoch=epoch)

    def once(self) -> list[list[int]]:
        """The batches of a pass in the order of the records."""
        return pack(self.sizes, self._limits, shuffle=False)

    def steps(self, plan: Sequence[list[int]], start: int = 0) -> Iterator[Step]:
        """The steps of a plan from number `start` on."""
        each = self._config.accumulate
        for number in range(start, len(plan)):
            pieces = deal(plan[number], self.sizes.cost, self._world * each)
            mine = [piece for piece in pieces[self._rank * each : (self._rank + 1) * each] if piece]
            yield Step(number, len(plan), plan[number], mine)

    def batch(self, indices: Sequence[int]) -> Batch:
        """These records joined, with their neighbours, on the CPU."""
        return self._feed.batch(indices)

    def largest_piece(self, epochs: int) -> list[int]:
        """The dearest piece of this process in the first epochs; later ones are like them."""
        looked_at = range(max(1, min(epochs, 10, _PLANNED // len(self.sizes.atoms))))
        pieces = [piece for epoch in looked_at for step in self.steps(self.epoch(epoch)) for piece in step.pieces]
        return max(pieces, key=lambda piece: int(self.sizes.cost[piece].sum()), default=[])

    def ready(self, steps: Iterable[Step]) -> Generator[tuple[Step, list[Batch]]]:
        """The steps with the batches of their pieces, made ahead of time."""
        return ahead(steps, self._made, self._config.workers)

    def _made(self, step: Step) -> tuple[Step, list[Batch]]:
        return step, [self.batch(piece) for piece in step.pieces]

    def counts(self, indices: Sequence[int]) -> Mapping[str, int]:
        """Components that each part of the loss has in these records."""
        return dict(zip(self._names, self._counts[indices].sum(axis=0).tolist(), strict=True))

    def _measured(self, fabric: Any, records: Sequence[Record], cutoff: float, aim: Aim) -> np.ndarray:
        """Atoms, edges and counts of every record; each process measures some."""
        mine = range(self._rank, len(records), self._world)
        columns = np.zeros((len(records), 2 + len(self._names)), dtype=np.int64)
        for i in mine:
            record = records[i]
            counts = aim.counts(record)
            edges = count_edges(record.system, cutoff)
            columns[i] = (record.n_atoms, edges, *(counts.get(name, 0) for name in self._names))
        if self._world == 1:
            return columns
        return fabric.all_reduce(torch.from_numpy(columns).to(fabric.device), reduce_op="sum").cpu().numpy()
