"""HDF5 files by the layouts of their writers: MACE, ANI-1, ANI-1x, SPICE; units and signs in numbers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundstate.atoms import GroundstateError
from groundstate.data import read
from groundstate.data.hdf5_files import formal_charge

h5py = pytest.importorskip("h5py")

HARTREE, BOHR = 27.211386245988, 0.529177210903
"""eV and Å, CODATA 2018."""
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def mace_file(path: Path, *, nested: bool = True, **changed: Any) -> Path:
    """As mace's save_configurations_as_HDF5 writes it; older versions put labels beside positions."""
    with h5py.File(path, "w") as file:
        for b in range(2):
            batch = file.create_group(f"config_batch_{b}")
            for j in range(11):
                group = batch.create_group(f"config_{j}")
                group["atomic_numbers"] = np.array([8, 1, 1])
                group["positions"] = WATER + 0.001 * (11 * b + j)
                group["cell"], group["pbc"] = 8 * np.eye(3), np.array([True, True, True])
                group["weight"], group["config_type"] = 1.0, "Default"
                labels = {"energy": -14.0 - (11 * b + j), "forces": 0.1 * WATER, "stress": np.arange(6) * 1e-3}
                labels |= {"virials": "None", "dipole": np.zeros(3), "charges": np.zeros(3)} | changed
                weights = {"energy": 1.0, "forces": 1.0, "stress": 1.0, "dipole": 0.0, "charges": 0.0}
                place = group.create_group("properties") if nested else group
                for name, value in labels.items():
                    place[name] = value
                if nested:
                    group.create_group("property_weights")
                for name, weight in weights.items():
                    if nested:
                        group["property_weights"][name] = weight
                    else:
                        group[f"{name}_weight"] = weight
    return path


@pytest.mark.parametrize("nested", [True, False])
def test_mace(tmp_path: Path, nested: bool) -> None:
    data = read(mace_file(tmp_path / "train.h5", nested=nested))
    assert [float(record.labels["energy"]) for record in data.records] == [-14.0 - i for i in range(22)]
    record = data.records[0]
    assert record.labels.keys() == {"energy", "forces", "stress"}
    assert record.labels["stress"].tolist() == [[0.0, 5e-3, 4e-3], [5e-3, 1e-3, 3e-3], [4e-3, 3e-3, 2e-3]]
    np.testing.assert_allclose(record.labels["forces"].numpy(), 0.1 * WATER)
    assert record.system.pbc.all()
    assert "'dipole' has weight 0" in data.report.as_text()


def test_mace_virials_and_charge(tmp_path: Path) -> None:
    virial = np.diag([-0.512, -1.024, -1.536])
    file = mace_file(tmp_path / "train.h5", stress="None", virials=virial, total_charge=1.0, total_spin=2.0)
    record = read(file).records[0]
    np.testing.assert_allclose(record.labels["stress"].numpy(), np.diag([1e-3, 2e-3, 3e-3]))
    assert record.system.charge is not None
    assert float(record.system.charge[0]) == 1.0


def ani1x_file(path: Path) -> Path:
    """As ani1x-release.h5: one group per formula, NaN where a method was not run."""
    with h5py.File(path, "w") as file:
        group = file.create_group("H2O1")
        group["atomic_numbers"] = np.array([8, 1, 1], dtype=np.uint8)
        group["coordinates"] = np.stack([WATER, WATER + 0.01, WATER * 1.01]).astype(np.float32)
        group["wb97x_dz.energy"] = np.array([-76.0, -76.1, -76.2])
        group["wb97x_dz.forces"] = np.full((3, 3, 3), 0.5, dtype=np.float32)
        group["wb97x_dz.dipole"] = np.full((3, 3), 0.2, dtype=np.float32)
        group["ccsd(t)_cbs.energy"] = np.array([-76.3, np.nan, np.nan])
    return path


def test_ani1x(tmp_path: Path) -> None:
    """Forces are per Å there, and not per bohr."""
    data = read(ani1x_file(tmp_path / "ani1x.h5"))
    energies = [float(record.labels["energy"]) / HARTREE for record in data.records]
    np.testing.assert_allclose(energies, [-76.0, -76.1, -76.2])
    np.testing.assert_allclose(data.records[1].labels["forces"].numpy(), 0.5 * HARTREE)
    np.testing.assert_allclose(data.records[1].labels["dipole"].numpy(), 0.2, rtol=1e-6)
    assert not data.records[0].system.pbc.any()


def test_ani1ccx_energies_without_forces_of_another_method(tmp_path: Path) -> None:
    path = ani1x_file(tmp_path / "ani1x.h5")
    with pytest.raises(GroundstateError, match=r"E-LABEL-MIXED.*different calculations"):
        read(path, keys={"energy": "ccsd(t)_cbs.energy"})
    coupled = read(path, keys={"energy": "ccsd(t)_cbs.energy", "forces": None, "dipole": None})
    assert [record.labels.keys() for record in coupled.records] == [{"energy"}, set(), set()]
    assert float(coupled.records[0].labels["energy"]) == pytest.approx(-76.3 * HARTREE)


def test_ani1(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "ani_gdb_s01.h5", "w") as file:
        group = file.create_group("gdb11_s01/gdb11_s01-0")
        group["coordinates"] = np.stack([WATER, WATER + 0.1]).astype(np.float32)
        group["coordinatesHE"] = WATER[None].astype(np.float32)
        group["energies"], group["energiesHE"] = np.array([-76.0, -75.9]), np.array([-70.0])
        group["species"] = np.array([b"O", b"H", b"H"])
    data = read(tmp_path / "ani_gdb_s01.h5")
    np.testing.assert_allclose([float(r.labels["energy"]) for r in data.records], np.array([-76.0, -75.9]) * HARTREE)
    assert data.records[0].system.numbers.tolist() == [8, 1, 1]
    assert "high-energy conformers" in data.report.as_text()


def test_spice(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "SPICE.hdf5", "w") as file:
        group = file.create_group("hydroxide water")
        group.create_dataset("smiles", data=["[O:1]([H:2])[H:3]"], dtype=h5py.string_dtype())
        group.create_dataset("subset", data=["SPICE Test"], dtype=h5py.string_dtype())
        group["atomic_numbers"] = np.array([8, 1, 1], dtype=np.int16)
        group["conformations"] = (np.stack([WATER, 1.02 * WATER]) / BOHR).astype(np.float32)
        group["dft_total_energy"] = np.array([-76.4, -76.3])
        group["formation_energy"] = np.array([-0.3, -0.2])
        group["dft_total_gradient"] = np.full((2, 3, 3), 0.01, dtype=np.float32)
        group["scf_dipole"] = np.full((2, 3), 0.7, dtype=np.float32)
        group["mbis_charges"] = np.array([[[-0.8], [0.4], [0.4]]] * 2, dtype=np.float32)
    record = read(tmp_path / "SPICE.hdf5").records[0]
    np.testing.assert_allclose(record.system.positions.numpy(), WATER, atol=1e-6)
    assert float(record.labels["energy"]) == pytest.approx(-76.4 * HARTREE)
    np.testing.assert_allclose(record.labels["forces"].numpy(), -0.01 * HARTREE / BOHR, rtol=1e-6)
    np.testing.assert_allclose(record.labels["dipole"].numpy(), 0.7 * BOHR, rtol=1e-6)
    np.testing.assert_allclose(record.labels["charges"].numpy(), [-0.8, 0.4, 0.4], rtol=1e-6)
    assert record.system.charge is not None
    assert float(record.system.charge[0]) == 0.0
    formation = read(tmp_path / "SPICE.hdf5", keys={"energy": "formation_energy"}).records[0]
    assert float(formation.labels["energy"]) == pytest.approx(-0.3 * HARTREE)


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [
        ("[O-:1][H:2]", -1),
        ("[Ca+2:1]", 2),
        ("[N+:1]([H:2])([H:3])([H:4])[C:5](=[O:6])[O-:7]", 0),
        ("[Fe+++]", 3),
        ("CCO", 0),
        ("[C@@H:1](F)Cl", 0),
        ("[Cl-].[Na+]", 0),
    ],
)
def test_charge_of_a_smiles(smiles: str, charge: int) -> None:
    assert formal_charge(smiles) == charge


def test_another_layout_is_refused_with_what_it_has(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(GroundstateError, match=r"E-FILE-FORMAT.*weights.*MACE, ANI-1"):
        read(tmp_path / "a.h5")


def test_open_elsewhere(tmp_path: Path) -> None:
    """HDF5 locks a file while it is written."""
    path = mace_file(tmp_path / "train.h5")
    code = "import sys, h5py, time; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(GroundstateError, match=r"E-FILE-BUSY.*open for writing"):
            read(path)
        writer.kill()


@pytest.mark.parametrize("content", [b"rubbish", b"\x89HDF\r\n\x1a\n"])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(GroundstateError, match="E-FILE-SYNTAX"):
        read(tmp_path / "a.h5")
