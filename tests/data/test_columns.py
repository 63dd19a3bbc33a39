"""A set kept in columns says what the same records say one by one."""

import pytest
import torch

from groundstate.data import Batch, Columns, batches, collate, gather
from toys import fcc

F64 = torch.float64


@pytest.fixture
def columns() -> Columns:
    generator = torch.Generator().manual_seed(0)
    systems = [fcc(repeats=n) for n in (1, 2, 1)]
    counts = torch.tensor([s.n_atoms for s in systems])
    ptr = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    atoms = int(ptr[-1])
    return Columns(
        torch.cat([s.numbers for s in systems]).to(torch.uint8),
        torch.cat([s.positions for s in systems]),
        ptr,
        torch.cat([s.cell for s in systems]),
        {
            "energy": torch.randn(3, generator=generator, dtype=F64),
            "forces": torch.randn(atoms, 3, generator=generator, dtype=F64).float(),
            "stress": torch.randn(3, 3, 3, generator=generator, dtype=F64),
        },
    )


def same(a: Batch, b: Batch) -> bool:
    fields = ("positions", "numbers", "system_ptr", "cell", "pbc", "masses")
    systems = all(torch.equal(getattr(a.system, f), getattr(b.system, f)) for f in fields)
    return systems and all(
        torch.equal(a.labels[n], b.labels[n]) and torch.equal(a.masks[n], b.masks[n]) for n in a.labels
    )


def test_a_batch_is_what_its_records_make(columns: Columns) -> None:
    chosen = [2, 0, 1]
    assert same(gather(columns, chosen), collate([columns[i] for i in chosen]))
    assert gather(columns, chosen).labels["forces"].dtype == F64


def test_records_and_slices(columns: Columns) -> None:
    assert [record.n_atoms for record in columns] == columns.n_atoms
    assert columns[-1].n_atoms == columns[2].n_atoms
    assert len(columns[1:]) == 2
    assert columns[1].labels["energy"].shape == ()
    assert columns[1].labels["stress"].shape == (3, 3)


def test_batches_are_planned_from_sizes_alone(columns: Columns) -> None:
    planned = batches(columns, max_atoms=40, seed=1)
    assert planned == batches(list(columns), max_atoms=40, seed=1)
    assert sorted(i for plan in planned for i in plan) == [0, 1, 2]
