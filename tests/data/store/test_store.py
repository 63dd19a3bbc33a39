"""A store is the sequence of records it was made of, to the last bit, whatever way it is read."""

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from groundstate.atoms import OptionError, System
from groundstate.data import (
    Batch,
    Record,
    Store,
    atom_counts,
    batches,
    collate,
    elements_of,
    fingerprints,
    open_store,
    split,
)
from groundstate.data.store import store as store_module
from groundstate.data.store.shard import Shard

from .conftest import HYBRID, PBE, put

Same = Callable[[Record, Record], None]


def test_every_record_in_any_order(store: Store, records: list[Record], same: Same) -> None:
    assert len(store) == len(records)
    assert len(store.shards.entries) == 6
    for one, other in zip(store, records, strict=True):
        same(one, other)
    for i in np.random.default_rng(0).permutation(len(records)).tolist():
        same(store[i], records[i])
        same(store[i - len(records)], records[i])
    with pytest.raises(IndexError):
        store[len(records)]


def test_selections_are_sequences(store: Store, records: list[Record], same: Same) -> None:
    part = store[5:35:3]
    assert isinstance(part, Store)
    for one, other in zip(part, records[5:35:3], strict=True):
        same(one, other)
    chosen = part.select([4, 0, 2])
    for one, other in zip(chosen, [records[17], records[5], records[11]], strict=True):
        same(one, other)
    assert len(store[:0]) == 0


def test_columns_equal_those_of_the_records(store: Store, records: list[Record]) -> None:
    for part, own in ((store, records), (store[3:20], records[3:20])):
        assert atom_counts(part) == atom_counts(own)
        np.testing.assert_array_equal(fingerprints(part), fingerprints(own))
        assert elements_of(part) == elements_of(own)
        assert set(part.levels) == {PBE, HYBRID}
        assert batches(part, max_atoms=20, seed=3) == batches(own, max_atoms=20, seed=3)
    assert store[::3].levels == (PBE,)
    assert store.digest != store[1:].digest


def equal(one: Batch, other: Batch) -> None:
    """Asserts that two batches are equal to the last bit."""
    for name in System.__dataclass_fields__:
        a, b = getattr(one.system, name), getattr(other.system, name)
        assert (a is None) == (b is None), name
        assert a is None or (a.dtype == b.dtype and torch.equal(a, b)), name
    assert one.labels.keys() == other.labels.keys() == one.masks.keys()
    assert all(torch.equal(one.labels[name], other.labels[name]) for name in one.labels)
    assert all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)


def test_batches_from_columns_equal_those_of_records(store: Store, records: list[Record]) -> None:
    plain = [i for i in range(40) if i % 3 and i % 4]
    charged = [i for i in range(40) if i % 3 == 0 and i % 4]
    for indices in (plain, charged, [36, 0, 24, 12], [7], plain[::-1]):
        equal(collate(store, indices), collate([records[i] for i in indices]))
    equal(collate(store.select(plain)), collate([records[i] for i in plain]))


def test_mixed_conditions_are_refused_as_for_records(store: Store) -> None:
    with pytest.raises(OptionError, match="E-BATCH-MIXED"):
        collate(store, [0, 1])
    with pytest.raises(OptionError, match="E-BATCH-EMPTY"):
        collate(store, [])


def test_split_of_a_store_is_the_split_of_its_records(store: Store, records: list[Record], same: Same) -> None:
    for how in ("structure", "material"):
        for part, own in zip(
            split(store, [0.6, 0.4], seed=2, keep_together=how),
            split(records, [0.6, 0.4], seed=2, keep_together=how),
            strict=True,
        ):
            assert isinstance(part, Store)
            for a, b in zip(part, own, strict=True):
                same(a, b)


def test_writing_into_a_record_does_not_change_the_store(tmp_path: Path, records: list[Record], same: Same) -> None:
    store = put(tmp_path / "store", records)
    store[2].system.positions.zero_()
    store[2].labels["energy"].zero_()
    same(open_store(tmp_path / "store", verify="all")[2], records[2])


def test_an_unknown_way_to_verify(store: Store) -> None:
    with pytest.raises(OptionError, match="'all'"):
        open_store(store.folder, verify="al")


def _energy(store: Store, index: int) -> float:
    return float(store[index].labels["energy"])


def test_other_processes_map_it_for_themselves(store: Store, records: list[Record], same: Same) -> None:
    same(pickle.loads(pickle.dumps(store[4:]))[0], records[4])  # noqa: S301
    assert len(pickle.dumps(store)) < 10_000
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_energy, (store, 9)) == float(records[9].labels["energy"])


def test_few_shards_stay_open(store: Store, records: list[Record], same: Same, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "OPEN_SHARDS", 2)
    held = [store[i] for i in range(0, 40, 7)]
    assert len(store.shards._open) == 2
    for one, i in zip(held, range(0, 40, 7), strict=True):
        same(one, records[i])


def test_a_pass_holds_one_shard(store: Store) -> None:
    list(store)
    assert len(store.shards._open) == 0


def test_statistics_are_those_of_the_records(store: Store, records: list[Record]) -> None:
    found = store.statistics
    assert (found.frames, found.atoms) == (40, sum(r.n_atoms for r in records))
    elements = {z: n for z, (n, _) in elements_of(records).items()}
    assert {z: frames for z, (frames, _) in found.elements.items()} == elements
    assert sum(found.sizes.values()) == 40
    assert found.unstated == sum(r.theory is None for r in records)
    assert dict(found.levels.values()) == {level: sum(r.theory == level for r in records) for level in (PBE, HYBRID)}
    per_atom = np.array([float(r.labels["energy"]) / r.n_atoms for r in records])
    energy = found.labels["energy"]
    assert (energy.frames, energy.count) == (40, 40)
    assert energy.minimum == pytest.approx(per_atom.min())
    assert energy.maximum == pytest.approx(per_atom.max())
    assert energy.mean == pytest.approx(per_atom.mean())
    assert energy.deviation == pytest.approx(per_atom.std())
    ranks = np.searchsorted(np.sort(per_atom), energy.median) / 40
    assert 0.4 < ranks < 0.6
    norms = torch.cat([r.labels["forces"].norm(dim=1) for r in records if "forces" in r.labels])
    assert found.labels["forces"].count == len(norms)
    assert found.labels["forces"].mean == pytest.approx(float(norms.mean()))
    assert found.conditions["multiplicity 1"] == sum(
        r.system.multiplicity is not None and int(r.system.multiplicity) == 1 for r in records
    )
    row = next(row for row in store.report().rows if row.quantity == "forces")
    assert (row.frames, row.total, dict(row.keys)) == (energy_with(records, "forces"), 40, {"REF_forces": row.frames})


def energy_with(records: list[Record], name: str) -> int:
    """Records that have a label."""
    return sum(name in r.labels for r in records)


def test_median_over_shards_is_close(tmp_path: Path, records: list[Record]) -> None:
    whole = put(tmp_path / "one", records, per_shard=40).statistics.labels["energy"]
    exact = float(np.median([float(r.labels["energy"]) / r.n_atoms for r in records]))
    assert whole.median == pytest.approx(exact)


def test_a_shard_explains_itself(store: Store) -> None:
    shard = Shard(store.folder / "shard-00001.arrow")
    assert shard.n_frames == 7
    assert set(shard.levels) == {PBE, HYBRID}
    assert shard.statistics.frames == 7
