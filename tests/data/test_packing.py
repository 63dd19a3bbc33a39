"""Batches of like cost, and batches dealt out in pieces of like cost."""

from itertools import product

import numpy as np
import pytest

from groundstate.atoms import GroundstateError
from groundstate.data import Limits, Sizes, deal, pack


def sizes(n: int = 300, seed: int = 0) -> Sizes:
    generator = np.random.default_rng(seed)
    atoms = generator.integers(1, 60, n)
    return Sizes(atoms, atoms * generator.integers(10, 90, n))


@pytest.mark.parametrize("limits", [Limits(max_edges=20_000), Limits(max_atoms=400, max_edges=20_000)])
def test_both_limits_hold_and_batches_are_full(limits: Limits) -> None:
    given = sizes()
    batches = pack(given, limits, seed=1, epoch=3)
    assert sorted(i for batch in batches for i in batch) == list(range(300))
    for batch in batches:
        assert given.edges[batch].sum() <= 20_000
        assert limits.max_atoms is None or given.atoms[batch].sum() <= limits.max_atoms
    needed = max(given.edges.sum() / 20_000, given.atoms.sum() / (limits.max_atoms or np.inf))
    assert len(batches) <= 1.12 * needed + 1


def test_an_epoch_is_a_function_of_its_seed_and_number() -> None:
    limits, given = Limits(max_edges=20_000), sizes()
    assert pack(given, limits, seed=5, epoch=2) == pack(given, limits, seed=5, epoch=2)
    assert pack(given, limits, seed=5, epoch=2) != pack(given, limits, seed=5, epoch=3)


@pytest.mark.parametrize(("pieces", "members"), [*product((2, 3, 8), (1, 7, 64))])
def test_pieces_cost_alike(pieces: int, members: int) -> None:
    cost = sizes(seed=2).cost
    chosen = list(range(members, 2 * members))
    dealt = deal(chosen, cost, pieces)
    assert sorted(i for piece in dealt for i in piece) == chosen
    assert dealt == deal(chosen, cost, pieces)
    loads = [cost[piece].sum() for piece in dealt]
    # Graham's bound with the obvious lower bounds of the best division.
    best = max(cost[chosen].sum() / pieces, cost[chosen].max())
    assert max(loads) <= (4 / 3 - 1 / (3 * pieces)) * best + cost[chosen].min()
    if members == 64:
        assert max(loads) <= 1.05 * cost[chosen].sum() / pieces


def test_one_piece_is_the_batch_as_it_is() -> None:
    assert deal([5, 3, 9], sizes().cost, 1) == [[5, 3, 9]]


@pytest.mark.parametrize("given", [{}, {"batch_size": 4, "max_edges": 9}, {"max_edges": 0}])
def test_limits_must_make_sense(given: dict[str, int]) -> None:
    with pytest.raises(GroundstateError, match="E-BATCH-SIZE"):
        Limits(**given)
