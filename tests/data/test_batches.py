"""Batches: what is joined, what is masked, how structures are packed."""

import pytest
import torch

from groundstate.atoms import GroundstateError, System
from groundstate.data import Record, batches, collate


def chain(n_atoms: int, **labels: torch.Tensor) -> Record:
    """Copper atoms in a row."""
    positions = torch.zeros(n_atoms, 3, dtype=torch.float64)
    positions[:, 2] = 2.5 * torch.arange(n_atoms)
    return Record(System.single(positions, [29] * n_atoms), dict(labels))


def test_labels_are_joined_and_gaps_masked() -> None:
    forces = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    stress = torch.eye(3, dtype=torch.float64)
    energy = torch.tensor(-3.5, dtype=torch.float64)
    batch = collate([chain(1, energy=energy), chain(2, forces=forces, stress=stress)])
    assert batch.system.system_ptr.tolist() == [0, 1, 3]
    assert batch.labels["energy"].tolist() == [-3.5, 0]
    assert batch.labels["forces"].tolist() == [[0, 0, 0], *forces.tolist()]
    assert batch.labels["stress"].shape == (2, 3, 3)
    assert {name: mask.tolist() for name, mask in batch.masks.items()} == {
        "energy": [True, False],
        "forces": [False, True],
        "stress": [False, True],
    }
    assert batch.to("cpu").labels["energy"].tolist() == [-3.5, 0]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(GroundstateError, match="E-BATCH-EMPTY"):
        collate([])


SIZES = [1 + (7 * i) % 23 for i in range(200)]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("limits", [{"max_atoms": 64}, {"batch_size": 7}, {"batch_size": 1000}])
def test_every_record_once(limits: dict[str, int], shuffle: bool) -> None:
    packed = batches([chain(n) for n in SIZES], **limits, shuffle=shuffle, seed=3)  # type: ignore[arg-type]
    assert sorted(index for batch in packed for index in batch) == list(range(200))
    if "batch_size" in limits:
        assert [len(batch) for batch in packed[:-1]] == [7] * (len(packed) - 1)
    if not shuffle:
        assert [index for batch in packed for index in batch] == list(range(200))


def test_packing_is_full_and_within_the_limit() -> None:
    packed = batches([chain(n) for n in SIZES], max_atoms=64, seed=0)
    loads = [sum(SIZES[index] for index in batch) for batch in packed]
    assert max(loads) <= 64
    assert len(loads) <= 1.1 * sum(SIZES) / 64 + 1


def test_same_seed_and_epoch_same_batches() -> None:
    records = [chain(n) for n in SIZES]
    first = batches(records, max_atoms=64, seed=5, epoch=2)
    assert first == batches(records, max_atoms=64, seed=5, epoch=2)
    assert first != batches(records, max_atoms=64, seed=5, epoch=3)
    assert first != batches(records, max_atoms=64, seed=6, epoch=2)


def test_a_structure_larger_than_the_limit_is_alone() -> None:
    packed = batches([chain(3), chain(50), chain(3)], max_atoms=10, seed=0)
    assert [1] in packed
    assert len(packed) == 2


@pytest.mark.parametrize("limits", [{}, {"max_atoms": 4, "batch_size": 4}, {"batch_size": 0}])
def test_limits_must_make_sense(limits: dict[str, int]) -> None:
    with pytest.raises(GroundstateError, match="E-BATCH-SIZE"):
        batches([chain(1)], **limits)  # type: ignore[arg-type]
