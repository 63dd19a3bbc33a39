"""What is read from good files: values, keys, conditions, encodings."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.db import connect
from ase.io import write as ase_write

from groundstate.atoms import DataError, LevelOfTheory
from groundstate.data import iterate, read, record_from_ase
from labelled_water import WATER, labelled_atoms, one


def test_ase_keys(tmp_path: Path) -> None:
    record = one(tmp_path, WATER)
    assert float(record.labels["energy"]) == -14.25
    assert record.labels["energy"].shape == ()
    assert record.labels["forces"].tolist() == [[0.1, 0.2, 0.3], [-0.1, 0, 0], [0, -0.2, -0.3]]
    assert torch.equal(record.labels["stress"], torch.diag(torch.tensor([1e-3, 2e-3, 3e-3], dtype=torch.float64)))
    assert record.system.cell.tolist() == [[[8, 0, 0], [0, 9, 0], [0, 0, 10]]]
    assert record.provenance.keys == {"energy": "energy", "forces": "forces", "stress": "stress"}
    assert record.provenance.tags == {"config_type": "water"}
    assert record.provenance.frame == 0


@pytest.mark.parametrize("key", ["REF_energy", "DFT_energy", "Energy", "free_energy", "total_energy"])
def test_energy_aliases(tmp_path: Path, key: str) -> None:
    record = one(tmp_path, WATER.replace(" energy=", f" {key}="))
    assert (float(record.labels["energy"]), record.provenance.keys["energy"]) == (-14.25, key)


def test_free_energy_beside_energy_is_noted_and_left(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(WATER.replace(" energy=", " free_energy=-14.30 energy="))
    data = read(path)
    assert float(data.records[0].labels["energy"]) == -14.25
    assert "free_energy is present too" in data.report.as_text()
    assert float(read(path, keys={"energy": "free_energy"}).records[0].labels["energy"]) == -14.30


def test_named_key_wins_and_none_leaves_out(tmp_path: Path) -> None:
    text = WATER.replace(" energy=", " corrected=-3.5 energy=")
    record = one(tmp_path, text, keys={"energy": "corrected", "stress": None})
    assert float(record.labels["energy"]) == -3.5
    assert "stress" not in record.labels


def test_fortran_exponents_are_numbers(tmp_path: Path) -> None:
    text = WATER.replace("energy=-14.25", "energy=-1.425D+01").replace("-0.1 0 0\n", "-1.0D-01 0 0\n")
    record = one(tmp_path, text)
    assert float(record.labels["energy"]) == -14.25
    assert float(record.labels["forces"][1, 0]) == -0.1


@pytest.mark.parametrize(
    ("info", "charge", "multiplicity"),
    [
        ("charge=1 spin=2", 1.0, 2),
        ("total_charge=-1 total_spin=2", -1.0, 2),
        ("charge=0 total_charge=0 multiplicity=3 spin=3", 0.0, 3),
        ("", None, None),
    ],
)
def test_charge_and_multiplicity(tmp_path: Path, info: str, charge: float | None, multiplicity: int | None) -> None:
    system = one(tmp_path, WATER.replace(" config_type=water", f" {info}")).system
    assert (None if system.charge is None else float(system.charge)) == charge
    assert (None if system.multiplicity is None else int(system.multiplicity)) == multiplicity


def test_virial_is_stress_where_the_cell_has_a_volume(tmp_path: Path) -> None:
    virial = 'virial="-0.72 0 0 0 -1.44 0 0 0 -2.16"'
    record = one(tmp_path, WATER.replace('stress="1e-3 0 0 0 2e-3 0 0 0 3e-3"', virial))
    torch.testing.assert_close(
        record.labels["stress"].diagonal(), torch.tensor([1e-3, 2e-3, 3e-3], dtype=torch.float64)
    )
    assert float(record.labels["virial"][0, 0]) == -0.72


def test_dirty_but_clear_files_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "größe 2"
    folder.mkdir()
    (folder / "β.xyz").write_bytes(b"\xef\xbb\xbf" + WATER.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(WATER.replace(" ", "\t", 40).replace("\t", " ", 12).encode()))
    (tmp_path / "a.xyz.bz2").write_bytes(bz2.compress(WATER.encode() + b"\n" + WATER.encode()))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert float(read(folder / "β.xyz").records[0].labels["energy"]) == -14.25
    assert len(read("~/a.xyz.gz")) == 1
    assert len(read("~/a.xyz.bz2")) == 2


def test_deuterium_and_oxidation_states_are_read_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "d.xyz"
    path.write_text(WATER.replace("\nO ", "\nO2- ").replace("\nH 0.96", "\nD 0.96"))
    data = read(path)
    assert data.records[0].system.numbers.tolist() == [8, 1, 1]
    assert data.records[0].system.masses.tolist() == [15.999, 2.01410177812, 1.008]
    assert "D read as H" in data.report.as_text()
    assert "'O2-' read as O" in data.report.as_text()


def test_plain_xyz_without_cell(tmp_path: Path) -> None:
    record = one(tmp_path, "2\na comment\nH 0 0 0\nH 0 0 0.74\n", "h2.xyz")
    assert record.labels == {}
    assert record.system.pbc.tolist() == [[False] * 3]


def test_stream_is_lazy_and_equal_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(WATER * 3 + "nonsense\n")
    stream = iterate(path)
    assert [next(stream).provenance.frame for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="E-FILE-SYNTAX"):
        next(stream)


def test_theory_is_the_users_or_the_files(tmp_path: Path) -> None:
    pbe, scan = LevelOfTheory("PBE"), LevelOfTheory("r2SCAN")
    assert one(tmp_path, WATER).theory is None
    assert one(tmp_path, WATER, theory=pbe).theory == pbe
    path = tmp_path / "two.xyz"
    path.write_text(WATER.replace("config_type=water", "head=pbe") + WATER.replace("config_type=water", "head=scan"))
    assert [r.theory for r in read(path, theory={"pbe": pbe, "scan": scan}).records] == [pbe, scan]
    assert "several levels of theory" in read(path).report.as_text()


def test_calculator_results_are_in_ase_order() -> None:
    record = record_from_ase(labelled_atoms())
    assert record.provenance.keys["energy"] == "calculator.energy"
    expected = [[0, 5e-3, 4e-3], [5e-3, 1e-3, 3e-3], [4e-3, 3e-3, 2e-3]]
    assert record.labels["stress"].tolist() == expected
    assert "magnetic_moments" not in record.labels


def test_ase_trajectory_and_database(tmp_path: Path) -> None:
    atoms = labelled_atoms()
    ase_write(tmp_path / "a.traj", [atoms, atoms])
    with connect(str(tmp_path / "a.db")) as database:
        database.write(atoms, config="liquid")
    assert [float(r.labels["energy"]) for r in read(tmp_path / "a.traj").records] == [-14.25, -14.25]
    (record,) = read(tmp_path / "a.db").records
    assert record.labels["forces"].tolist() == np.arange(9.0).reshape(3, 3).tolist()
    assert record.provenance.tags["config"] == "liquid"


def test_poscar(tmp_path: Path) -> None:
    text = "rock salt\n1.0\n4 0 0\n0 4 0\n0 0 4\nMg O\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
    system = one(tmp_path, text, "POSCAR_start").system
    assert system.numbers.tolist() == [12, 8]
    assert system.positions[1].tolist() == [2, 2, 2]


def test_report_counts_and_measures(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    bare = WATER.replace(" energy=-14.25", "").replace("energy", "other")
    path.write_text(WATER + WATER.replace("-14.25", "-15.0") + bare)
    report = read(path).report
    energy = next(row for row in report.rows if row.quantity == "energy")
    assert (energy.frames, energy.total, energy.unit) == (2, 3, "eV/atom")
    assert (energy.minimum, energy.maximum) == (-5.0, -4.75)
    assert [cells["frames"] for cells in report.as_table()] == ["2/3", "3/3", "3/3"]
    assert "energy" in report.as_text().splitlines()[1]
