"""fairchem's aselmdb, written here as ase-db-backends and fairchem write it."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundstate.atoms import GroundstateError
from groundstate.data import read

lmdb = pytest.importorskip("lmdb")


def put(path: Path, rows: dict[str, Any]) -> Path:
    """An LMDB of compressed JSON documents."""
    with lmdb.open(str(path), subdir=False, map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for key, value in rows.items():
            content = value if isinstance(value, bytes) else zlib.compress(json.dumps(value).encode())
            writing.put(key.encode(), content)
    return path


def row(energy: float) -> dict[str, Any]:
    """A row as ASE's database keeps it."""
    return {
        "numbers": [8, 1, 1],
        "positions": {"__ndarray__": [[3, 3], "float64", [0.0, 0.0, 0.0, 0.96, 0.0, 0.0, -0.24, 0.93, 0.0]]},
        "cell": np.diag([8.0, 9.0, 10.0]).tolist(),
        "pbc": [True, True, True],
        "unique_id": "0" * 32,
        "ctime": 1.0,
        "mtime": 1.0,
        "user": "someone",
        "calculator": "unknown",
        "energy": energy,
        "forces": [[0.1, 0.2, 0.3], [-0.1, 0.0, 0.0], [0.0, -0.2, -0.3]],
        "stress": [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3],
        "key_value_pairs": {"fmax": 0.5},
        "data": {"charge": 1, "spin": 2, "source": "omol/x", "nested": {"a": 1}},
    }


def test_rows(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.aselmdb", {"1": row(-1.0), "3": row(-3.0), "nextid": 4, "deleted_ids": [2], "metadata": {}}
    )
    first, second = read(path).records
    assert (float(first.labels["energy"]), float(second.labels["energy"])) == (-1.0, -3.0)
    assert first.labels["stress"].tolist() == [[1e-3, 6e-3, 5e-3], [6e-3, 2e-3, 4e-3], [5e-3, 4e-3, 3e-3]]
    assert first.labels["forces"].tolist()[0] == [0.1, 0.2, 0.3]
    assert first.system.charge is not None
    assert first.system.multiplicity is not None
    assert (float(first.system.charge[0]), int(first.system.multiplicity[0])) == (1.0, 2)
    assert first.provenance.tags["source"] == "omol/x"


def test_a_damaged_row_is_named_and_the_others_kept(tmp_path: Path) -> None:
    rows = {"1": row(-1.0), "2": b"rubbish", "3": row(-3.0), "nextid": 4}
    path = put(tmp_path / "a.aselmdb", rows)
    with pytest.raises(GroundstateError, match="row 2") as caught:
        read(path)
    assert caught.value.frame == 1
    assert len(read(path, salvage=True)) == 2


def test_pickled_lmdb_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.lmdb", {"0": b"\x80\x04pickle", "length": b"\x80\x04K\x01."})
    with pytest.raises(GroundstateError, match=r"E-FILE-FORMAT.*runs code"):
        read(path)


def test_rubbish(tmp_path: Path) -> None:
    (tmp_path / "a.aselmdb").write_bytes(b"rubbish")
    with pytest.raises(GroundstateError, match="E-FILE-SYNTAX"):
        read(tmp_path / "a.aselmdb")


def test_equals_what_the_backend_of_ase_writes(tmp_path: Path) -> None:
    pytest.importorskip("ase_db_backends")
    from ase.db import connect

    from labelled_water import labelled_atoms

    atoms = labelled_atoms()
    with connect(str(tmp_path / "a.aselmdb")) as database:
        database.write(atoms, data={"charge": 0})
    (record,) = read(tmp_path / "a.aselmdb").records
    np.testing.assert_array_equal(record.labels["forces"].numpy(), atoms.calc.results["forces"])
    np.testing.assert_array_equal(record.system.positions.numpy(), atoms.get_positions())
