"""A run under pressure, its analysis and a free energy, as a user types them."""

import json
from pathlib import Path

import pytest
import torch

import groundstate as gs
from command_line import Run
from groundstate.data import write
from groundstate.data.record import Record
from groundstate.potentials import checkpoint
from groundstate.potentials.mace import MACEConfig, build
from groundstate.simulation.free_energy.einstein import EinsteinConfig
from toys import fcc, lennard_jones


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    config = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=3.5, dtype="float64")
    checkpoint.save(build(config, elements=(29,), reference_energies=[{29: -3.0}], seed=0), path)
    return path


def test_dynamics_under_pressure_is_analysed_into_a_page(run: Run, model: Path, tmp_path: Path) -> None:
    crystal, folder = tmp_path / "Cu.extxyz", tmp_path / "run"
    write(crystal, [Record(fcc(), {})])
    words = ("md", crystal, "--model", model, "--steps", "24", "--temperature-K", "100", "--timestep-fs", "1")
    words += ("--ensemble", "npt-mtk", "--cell", "full", "--pressure-GPa", "0.5", "--trajectory-every", "1")
    code, out, err = run(*words, "--output", folder, "--json")
    assert code == 0, err
    (row,) = json.loads(out)["structures"]
    assert row["mean V (Å³)"] == pytest.approx(3.61**3, rel=0.05)
    assert "mean p (GPa)" in row
    titles = [s.get("caption", "") for s in json.loads((folder / "report.json").read_text())["sections"]]
    assert any("pressure" in title for title in titles)
    page = tmp_path / "analysis.html"
    asked = ("--rdf", "--spectrum", "--angles", "Cu,Cu,Cu", "--angle-cutoff", "2.9")
    code, out, err = run("analyse", folder, *asked, "--report", page, "--json")
    assert code == 0, err
    found = json.loads(out)
    peak = max(range(120), key=found["rdf"]["Cu–Cu"].__getitem__)
    assert found["rdf"]["distance_A"][peak] == pytest.approx(3.61 / 2**0.5, abs=0.15)
    assert found["angles"]["count"] == 25 * 4 * 66
    assert "too short" in found["spectrum"]["note"]
    assert page.stat().st_size > 1000
    facts = json.loads(page.with_suffix(".json").read_text())["sections"][-1]["facts"]
    assert facts["input trajectory_00000.extxyz"].startswith("sha256")
    code, out, _ = run("analyse", folder, "--rdf")
    assert code == 0
    assert "Cu–Cu" in out
    for words, exit_code, says in (
        (("analyse", folder), 2, "E-OPTION"),
        (("analyse", folder, "--msd"), 6, "E-TRAJECTORY-CELL"),
        (("analyse", folder, "--rdf", "--skip-ps", "9"), 2, "E-OPTION-RANGE"),
        (("analyse", folder, "--angles", "Cu"), 2, "E-OPTION"),
        (("analyse", tmp_path / "none", "--rdf"), 4, "E-FILE-MISSING"),
    ):
        code, _, err = run(*words)
        assert (code, says in err) == (exit_code, True), err


def test_a_free_energy_at_both_doors(run: Run, model: Path, tmp_path: Path) -> None:
    """The short run says how uncertain it is; the verb and the Python door give the same numbers."""
    potential = lennard_jones(cutoff=4.5)
    options = {"temperature_K": 40.0, "steps": 160, "discard": 40, "points": 3, "spring": 6.0}
    (found,) = gs.free_energy(fcc(lattice_constant=3.5555), potential, **options)
    assert found.helmholtz == pytest.approx(found.reference + found.work)
    assert found.static == pytest.approx(float(gs.predict(fcc(lattice_constant=3.5555), potential)[0].values["energy"]))
    assert 0 < found.error < 0.05
    assert EinsteinConfig(temperature_K=40.0).points == 7
    with pytest.raises(gs.GroundstateError, match="E-OPTION"):
        gs.free_energy(fcc(), potential, temperature=40.0)
    crystal, page = tmp_path / "Cu.extxyz", tmp_path / "free.html"
    write(crystal, [Record(fcc(), {})])
    words = ("einstein", crystal, "--model", model, "--temperature-K", "10", "--steps", "160", "--discard", "40")
    code, out, err = run(*words, "--points", "3", "--spring", "6", "--report", page, "--json")
    assert code == 0, err
    (row,) = json.loads(out)["structures"]
    assert row["F per atom (eV)"] * 4 == pytest.approx(row["F (eV)"])
    assert row["primitive cells"] == 4
    assert page.stat().st_size > 1000


def test_a_conductivity_needs_velocities_and_a_long_trajectory(tmp_path: Path) -> None:
    potential = lennard_jones(cutoff=4.5)
    options = {"steps": 120, "timestep_fs": 2.0, "temperature_K": 100.0, "trajectory_every": 1}
    gs.md(fcc(lattice_constant=3.5555), potential, output=tmp_path, **options)
    trajectory = gs.read_trajectory(tmp_path)
    found = gs.green_kubo(trajectory, potential)
    assert bool(torch.isfinite(found.running).all())
    assert found.lag_fs[1] == 2
    with pytest.raises(gs.GroundstateError, match="E-TRAJECTORY-SHORT"):
        gs.green_kubo(trajectory, potential, every=10)
