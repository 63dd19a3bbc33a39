"""Records of every kind a store can hold, and stores of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from groundstate.atoms import LevelOfTheory, System
from groundstate.data import Provenance, Record, Store, open_store
from groundstate.data.store import Manifest, ShardWriter, shard_name

pytest.importorskip("pyarrow")

PBE, HYBRID = LevelOfTheory("PBE", hubbard_u=(("Fe", 5.3),)), LevelOfTheory("PBE0")


def record(seed: int) -> Record:
    """A random structure: crystals and molecules, every label now and then, charges and masses now and then."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    crystal = bool(rng.integers(2))
    system = System.single(
        rng.normal(size=(n, 3)),
        rng.integers(1, 90, n),
        cell=5 * np.eye(3) + 0.1 * rng.normal(size=(3, 3)) if crystal else None,
        pbc=[True, True, bool(rng.integers(2))] if crystal else False,
        masses=rng.uniform(1, 9, n) if seed % 5 == 0 else None,
        charge=float(rng.integers(-2, 3)) if seed % 3 == 0 else None,
        multiplicity=int(rng.integers(1, 4)) if seed % 3 == 0 else None,
    )
    if seed % 4 == 0:
        moments = torch.from_numpy(rng.normal(size=(n, 3)))
        field = torch.ones(1, 3, dtype=torch.float64)
        system = system.replace(theory=torch.tensor([seed % 2]), moments=moments, field=field)
    shapes: dict[str, tuple[int, ...]] = {
        "energy": (),
        "forces": (n, 3),
        "stress": (3, 3),
        "charges": (n,),
        "dipole": (3,),
    }
    shapes["born_charges"] = (n, 3, 3)
    labels = {
        name: torch.from_numpy(np.array(rng.normal(size=shape)))
        for k, (name, shape) in enumerate(shapes.items())
        if (seed + k) % 3 or k == 0
    }
    keys = {name: "REF_" + name for name in labels}
    origin = Provenance(f"part{seed // 10}.xyz", seed, keys, {"material": f"mp-{seed // 4}"})
    return Record(system, labels, (PBE, HYBRID, None)[seed % 3], origin)


def put(folder: Path, records: list[Record], per_shard: int = 7) -> Store:
    """A store of these records, in small shards."""
    folder.mkdir(parents=True)
    shards = []
    for start in range(0, len(records), per_shard):
        writer = ShardWriter()
        for own in records[start : start + per_shard]:
            writer.add(own)
        shards.append(writer.write(folder, shard_name(len(shards))))
    Manifest(tuple(shards), (), finished=True).write(folder)
    return open_store(folder)


@pytest.fixture
def records() -> list[Record]:
    """Forty records."""
    return [record(seed) for seed in range(40)]


@pytest.fixture
def store(tmp_path: Path, records: list[Record]) -> Store:
    """The same forty in six shards."""
    return put(tmp_path / "store", records)


@pytest.fixture
def same() -> Callable[[Record, Record], None]:
    """Asserts that two records are equal to the last bit."""

    def compare(one: Record, other: Record) -> None:
        for name in System.__dataclass_fields__:
            a, b = getattr(one.system, name), getattr(other.system, name)
            assert (a is None) == (b is None), name
            assert a is None or (a.dtype == b.dtype and torch.equal(a, b)), name
        assert one.labels.keys() == other.labels.keys()
        assert all(torch.equal(one.labels[name], other.labels[name]) for name in one.labels)
        assert one.theory == other.theory
        assert one.provenance == replace(other.provenance)

    return compare
