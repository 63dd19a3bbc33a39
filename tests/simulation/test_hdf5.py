"""A run goes into one HDF5 file and comes back with every number, unit and word of where it came from."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from groundstate.atoms import DataError, RunError, System
from groundstate.cli import app
from groundstate.data.files import owned_folder
from groundstate.simulation import MDConfig, RelaxConfig, relax, run_md
from groundstate.simulation.hdf5 import export, load

h5py = pytest.importorskip("h5py")


@pytest.fixture
def relaxed(potential, crystal, molecule, tmp_path):
    nan = crystal(9).replace(positions=torch.full((4, 3), torch.nan, dtype=torch.float64))
    batch = System.batch([crystal(1), nan, crystal(2, repeats=2), crystal(3)])
    config = RelaxConfig(force_tolerance=0.05, cell="full", max_steps=4)
    return relax(batch, potential, config, output=tmp_path / "run"), tmp_path / "run"


def test_a_relaxation_comes_back_number_by_number(relaxed, tmp_path):
    results, folder = relaxed
    assert export(folder, tmp_path / "run.h5") == 4
    archive = load(tmp_path / "run.h5")
    assert archive.run == json.loads((folder / "run.json").read_text())
    by_index = {series.facts["index"]: series for series in archive.series}
    assert {"invalid", "converged"} <= {result.status for result in results}
    for result in results:
        series = by_index[result.index]
        assert (series.facts["status"], series.facts["code"]) == (result.status, result.code)
        if result.forces is None:
            assert series.numbers is None
            continue
        assert np.array_equal(series.numbers, result.system.numbers.numpy())
        assert np.array_equal(series.values["positions"], result.system.positions.numpy()[None])
        assert np.array_equal(series.values["cell"], result.system.cell.numpy())
        assert np.array_equal(series.values["forces"], result.forces.numpy()[None])
        assert np.array_equal(series.values["stress"], result.stress.numpy()[None])
        assert series.facts["energy"] == result.energy


def test_units_are_said(relaxed, tmp_path):
    export(relaxed[1], tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        units = {name: file["1"][name].attrs["unit"] for name in ("positions", "forces", "stress", "energy")}
    assert units == {"positions": "Å", "forces": "eV/Å", "stress": "eV/Å³", "energy": "eV"}


def test_molecular_dynamics_comes_back(potential, crystal, tmp_path):
    config = MDConfig(steps=20, timestep_fs=2.0, temperature_K=300.0, record_every=2, trajectory_every=5)
    results = run_md(System.batch([crystal(1), crystal(2)]), potential, config, output=tmp_path / "md")
    assert export(tmp_path / "md", tmp_path / "md.h5") == 2
    for series, result in zip(load(tmp_path / "md.h5").series, results, strict=True):
        assert series.values["positions"].shape == (5, 4, 3)
        assert series.values["time_fs"].tolist() == [0.0, 10.0, 20.0, 30.0, 40.0]
        assert np.array_equal(series.values["positions"][-1], result.system.positions.numpy())
        assert np.array_equal(series.values["velocities"][-1], result.velocities.numpy())
        for name, column in result.samples.items():
            assert np.array_equal(series.samples[name], column.numpy())
    with h5py.File(tmp_path / "md.h5") as file:
        assert file["0/samples/temperature_K"].attrs["unit"] == "K"
        assert file["0/velocities"].attrs["unit"] == "Å/fs"


def test_nothing_is_overwritten_and_nothing_half_is_left(relaxed, tmp_path, monkeypatch):
    target = tmp_path / "run.h5"
    target.write_text("mine")
    with pytest.raises(RunError, match="E-OUTPUT-EXISTS"):
        export(relaxed[1], target)
    monkeypatch.setattr("groundstate.simulation.hdf5._put", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        export(relaxed[1], target, overwrite=True)
    assert target.read_text() == "mine"
    assert not list(tmp_path.glob(".*.part"))
    monkeypatch.undo()
    with pytest.raises(DataError, match="E-FILE-SYNTAX"):
        load(target)
    export(relaxed[1], target, overwrite=True)
    assert len(load(target).series) == 4


def test_no_run_a_run_in_use_and_another_file_are_refused(relaxed, tmp_path):
    with pytest.raises(RunError, match="E-RUN-MISSING"):
        export(tmp_path, tmp_path / "run.h5")
    with owned_folder(relaxed[1]), pytest.raises(RunError, match="E-RUN-LOCKED"):
        export(relaxed[1], tmp_path / "run.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(DataError, match="no exported run"):
        load(tmp_path / "other.h5")


def test_the_verb(relaxed, tmp_path):
    answer = CliRunner().invoke(app, ["export", str(relaxed[1]), "--output", str(tmp_path / "run.h5"), "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["structures"] == 4
    assert len(load(tmp_path / "run.h5").series) == 4
