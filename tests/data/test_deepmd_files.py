"""DeePMD-kit's systems: folders of NumPy arrays, plain and mixed."""

from pathlib import Path

import numpy as np
import pytest

from groundstate.atoms import GroundstateError
from groundstate.data import import_files, read
from groundstate.data.importing import sources_in

CELL = np.diag([8.0, 9.0, 10.0])
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def system(folder: Path, *, sets: int = 2, frames: int = 3, dtype: type = np.float64) -> Path:
    """As dpdata's to_deepmd_npy writes it."""
    folder.mkdir(parents=True)
    (folder / "type.raw").write_text("1\n0\n0\n")
    (folder / "type_map.raw").write_text("H\nO\n")
    for s in range(sets):
        part = folder / f"set.{s:03d}"
        part.mkdir()
        shift = 0.01 * np.arange(s * frames, (s + 1) * frames)
        np.save(part / "coord.npy", (WATER[None] + shift[:, None, None]).reshape(frames, 9).astype(dtype))
        np.save(part / "box.npy", np.tile(CELL.reshape(1, 9), (frames, 1)).astype(dtype))
        np.save(part / "energy.npy", (-14.0 - np.arange(frames)).astype(dtype))
        np.save(part / "force.npy", np.full((frames, 9), 0.25, dtype=dtype))
        np.save(part / "virial.npy", np.tile(np.diag([-0.72, -1.44, -2.16]).reshape(1, 9), (frames, 1)).astype(dtype))
    return folder


def test_plain(tmp_path: Path) -> None:
    data = read(system(tmp_path / "water"))
    assert [float(record.labels["energy"]) for record in data.records] == [-14.0, -15.0, -16.0] * 2
    record = data.records[4]
    assert record.system.numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose(record.system.positions.numpy(), WATER + 0.04)
    np.testing.assert_allclose(record.labels["stress"].numpy(), np.diag([1e-3, 2e-3, 3e-3]), rtol=1e-12)
    np.testing.assert_allclose(record.labels["forces"].numpy(), 0.25)
    assert (record.system.pbc.tolist(), record.provenance.frame) == ([[True] * 3], 4)


def test_without_periods(tmp_path: Path) -> None:
    folder = system(tmp_path / "water")
    (folder / "nopbc").touch()
    for part in folder.glob("set.*/*"):
        if part.name in ("box.npy", "virial.npy"):
            part.unlink()
    record = read(folder).records[0]
    assert not record.system.pbc.any()
    assert record.labels.keys() == {"energy", "forces"}


def test_mixed_types(tmp_path: Path) -> None:
    folder = system(tmp_path / "mixed", sets=1)
    (folder / "type.raw").write_text("0\n0\n0\n")
    np.save(folder / "set.000" / "real_atom_types.npy", np.array([[1, 0, 0], [1, 1, -1], [0, -1, -1]]))
    numbers = [record.system.numbers.tolist() for record in read(folder).records]
    assert numbers == [[8, 1, 1], [8, 8], [1]]


def test_types_without_names_are_refused(tmp_path: Path) -> None:
    folder = system(tmp_path / "water")
    (folder / "type_map.raw").unlink()
    with pytest.raises(GroundstateError, match=r"E-DEEPMD-TYPES.*2 types of atoms"):
        read(folder)


def test_sets_of_unequal_lengths_are_refused(tmp_path: Path) -> None:
    folder = system(tmp_path / "water", sets=1)
    np.save(folder / "set.000" / "energy.npy", np.zeros(2))
    with pytest.raises(GroundstateError, match=r"E-FILE-TRUNCATED.*3 frames in coord.npy.*energy 2"):
        read(folder)


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    folder = system(tmp_path / "water", sets=1)
    np.save(folder / "set.000" / "energy.npy", np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(GroundstateError, match="E-FILE-SYNTAX"):
        read(folder)


def test_a_tree_of_systems_is_imported(tmp_path: Path) -> None:
    system(tmp_path / "all" / "a")
    system(tmp_path / "all" / "deep" / "b", dtype=np.float32)
    pytest.importorskip("pyarrow")
    store = import_files(sources_in(tmp_path / "all"), tmp_path / "store")
    assert len(store) == 12
    assert {Path(str(record.provenance.file)).name for record in store} == {"a", "b"}
