"""Batches ready before they are asked for: structures joined and neighbours found in threads beside the computation.

Every batch is a function of its records alone, so nothing depends on which thread made it, or when.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from groundstate.atoms import Graph, System, find_neighbours
from groundstate.data import Batch, Record, collate

_Job = TypeVar("_Job")
_Made = TypeVar("_Made")


def ahead(jobs: Iterable[_Job], make: Callable[[_Job], _Made], workers: int) -> Generator[_Made]:
    """`map(make, jobs)` with `workers` threads that keep one result more than their number ready; 0 works here."""
    if workers == 0:
        yield from map(make, jobs)
        return
    todo, waiting = iter(jobs), deque[Future[_Made]]()
    with ThreadPoolExecutor(workers, thread_name_prefix="feed") as pool:
        try:
            waiting.extend(pool.submit(make, job) for job in islice(todo, workers + 1))
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(pool.submit(make, job) for job in islice(todo, 1))
                yield made
        finally:
            for future in waiting:
                future.cancel()


class Feed:
    """Records as batches that carry their neighbours; lists once found are kept, up to `cache_bytes` in all.

    Batches for a GPU come without: it finds the neighbours of a batch in less time than their lists take to get there.
    """

    def __init__(
        self, records: Sequence[Record], cutoff: float, *, cache_bytes: int, device: torch.device | None = None
    ) -> None:
        self.records, self.cutoff = records, cutoff
        self._lists = device is None or device.type != "cuda"
        self._kept: dict[int, _Listed] = {}
        self._room, self._lock = cache_bytes, Lock()

    def batch(self, indices: Sequence[int]) -> Batch:
        """These records joined, on the CPU."""
        made = collate(self.records, indices)
        if not self._lists:
            return made
        graph = _joined([self._listed(i) for i in indices], made.system, self.cutoff)
        return Batch(made.system, made.labels, made.masks, graph)

    def _listed(self, index: int) -> "_Listed":
        found = self._kept.get(index)
        if found is None:
            found = _Listed.of(find_neighbours(self.records[index].system, self.cutoff))
            with self._lock:
                if index not in self._kept and found.nbytes <= self._room:
                    self._kept[index] = found
                    self._room -= found.nbytes
        return found


@dataclass(frozen=True, eq=False)
class _Listed:
    """The graph of one structure in 11 bytes an edge instead of 56; numbered within the structure."""

    counts: NDArray[np.int32]
    senders: NDArray[np.int32]
    reverse: NDArray[np.int32]
    shifts: NDArray[np.signedinteger]

    @classmethod
    def of(cls, graph: Graph) -> "_Listed":
        shifts = graph.shifts.numpy()
        small = bool((np.abs(shifts) < 128).all())
        counts, senders, reverse = (
            tensor.numpy().astype(np.int32) for tensor in (graph.receiver_ptr.diff(), graph.senders, graph.reverse)
        )
        return cls(counts, senders, reverse, shifts.astype(np.int8 if small else np.int32))

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.counts, self.senders, self.reverse, self.shifts))


def _joined(listed: Sequence[_Listed], system: System, cutoff: float) -> Graph:
    """What `find_neighbours` gives for the batch."""
    first_atoms = system.system_ptr.tolist()
    first_edges = np.cumsum([0, *(len(one.senders) for one in listed)]).tolist()
    counts = np.concatenate([one.counts for one in listed])
    arrays = {
        "receivers": np.repeat(np.arange(len(counts)), counts),
        "senders": _shifted([one.senders for one in listed], first_atoms),
        "shifts": np.concatenate([one.shifts for one in listed]).astype(np.int64),
        "receiver_ptr": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        "reverse": _shifted([one.reverse for one in listed], first_edges),
    }
    return Graph(**{name: torch.from_numpy(array) for name, array in arrays.items()}, cutoff=cutoff)


def _shifted(parts: Sequence[NDArray[np.int32]], starts: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([part.astype(np.int64) + start for part, start in zip(parts, starts, strict=False)])
