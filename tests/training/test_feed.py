"""Batches made ahead are the batches made in place."""

import threading
from dataclasses import fields
from itertools import islice

import pytest
import torch

from groundstate.atoms import System, count_edges, find_neighbours
from groundstate.data import Record, collate
from groundstate.training.feed import Feed, ahead
from training.specimens import CUTOFF, copper


def mixed() -> list[Record]:
    """Crystals, a molecule far from the origin, an atom alone."""
    far = System.single([[900.0, 0, 0], [902.4, 0, 0], [900, 2.5, 0]], [29] * 3)
    wandered = copper(1, seed=2)[0]
    system = wandered.system.replace(positions=wandered.system.positions + 200 * wandered.system.cell[0, 1])
    return [*copper(3, seed=1), Record(far), Record(System.single([[0.0, 0, 0]], [29])), Record(system)]


@pytest.mark.parametrize("cache_bytes", [0, 10**9])
def test_graphs_are_those_of_the_batch(cache_bytes: int) -> None:
    records = mixed()
    feed = Feed(records, CUTOFF, cache_bytes=cache_bytes)
    for indices in ([4, 0, 3], [5, 1, 2, 3], [4, 0, 3], [4]):
        made, expected = feed.batch(indices), collate([records[i] for i in indices])
        graph = find_neighbours(expected.system, CUTOFF)
        assert made.graph is not None
        for field in fields(graph):
            ours, theirs = getattr(made.graph, field.name), getattr(graph, field.name)
            assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
        assert torch.equal(made.system.positions, expected.system.positions)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order_and_not_too_early(workers: int) -> None:
    begun: list[int] = []

    def make(job: int) -> int:
        begun.append(job)
        return job * job

    made = ahead(iter(range(50)), make, workers)
    assert list(islice(made, 10)) == [job * job for job in range(10)]
    assert len(begun) <= 10 + workers + 1
    assert list(made) == [job * job for job in range(10, 50)]


def test_an_error_comes_where_its_batch_would_and_ends_the_threads() -> None:
    def make(job: int) -> int:
        if job == 3:
            raise RuntimeError("unreadable")
        return job

    made = ahead(iter(range(9)), make, 2)
    assert list(islice(made, 3)) == [0, 1, 2]
    with pytest.raises(RuntimeError, match="unreadable"):
        next(made)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_edges_are_counted_as_they_are_found() -> None:
    for record in mixed():
        assert count_edges(record.system, CUTOFF) == find_neighbours(record.system, CUTOFF).n_edges
