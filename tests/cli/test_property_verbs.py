"""The property verbs as a user meets them: numbers, reports, reasons, exit codes, and the same verbs in Python."""

import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

import groundstate as gs
from command_line import Run
from groundstate.potentials import checkpoint
from groundstate.potentials.mace import MACEConfig, build
from groundstate.simulation.properties import PhononConfig
from toys import fcc, lennard_jones

pytest.importorskip("phonopy")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model for magnesium and oxygen with random weights and a repulsive core."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    config = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=3.5, dtype="float64")
    checkpoint.save(build(config, elements=(8, 12), reference_energies=[{8: -7.0, 12: -5.0}], seed=0), path)
    return path


@pytest.fixture(scope="module")
def oxide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("structures") / "MgO.extxyz"
    write(path, [bulk("MgO", "rocksalt", a=4.2), bulk("Cu", cubic=True)])
    return path


@pytest.mark.parametrize("verb", ["eos", "elastic", "phonons"])
def test_a_structure_without_a_result_has_its_reason(verb: str, run: Run, model: Path, oxide: Path) -> None:
    code, out, _ = run(verb, oxide, "--model", model, "--json")
    found = json.loads(out)
    assert code == 1
    assert found["structures"][1]["formula"] == "Cu4"
    assert found["structures"][1]["reason"].startswith("E-ELEMENT-UNSUPPORTED")


def test_mistakes_are_answered(run: Run, model: Path, oxide: Path) -> None:
    for words, says in (
        (("phonons", oxide, "--model", model, "--supercell", "2,2"), "E-SUPERCELL"),
        (("phonons", oxide, "--model", model, "--imaginary", "refus"), "Did you mean 'refuse'"),
        (("elastic", oxide, "--model", model, "--strain", "3"), "strain=3 is out of range"),
        (("eos", oxide, "--model", "chgnt"), "Did you mean 'chgnet'"),
    ):
        code, _, err = run(*words)
        assert code in (2, 5)
        assert says in err


def test_reports_of_every_property(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    potential = lennard_jones(cutoff=4.5)
    monkeypatch.setattr("groundstate.cli.properties.double", lambda _: gs.load(potential))
    path = tmp_path / "Cu.extxyz"
    write(path, bulk("Cu", a=3.6, cubic=True))
    for verb, words, says in (
        ("eos", (), "B (GPa)"),
        ("elastic", ("--clamped",), "C44 (GPa)"),
        ("phonons", ("--supercell", "2,2,2"), "Γ"),
        ("expansion", ("--supercell", "2,2,2", "--points", "5", "--highest-K", "100", "--highest", "1.04"), "α"),
    ):
        page = tmp_path / f"{verb}.html"
        code, out, err = run(verb, path, *words, "--report", page, "--json")
        assert code == 0, err
        row = json.loads(out)["structures"][0]
        assert any(says in name for name in row)
        twin = json.loads(page.with_suffix(".json").read_text())
        kinds = {section["kind"] for section in twin["sections"]}
        assert {"table", "facts"} <= kinds
        assert "<svg" in page.read_text() or verb == "elastic"


def test_the_same_verbs_in_python() -> None:
    potential = lennard_jones(cutoff=4.5)
    (outcome,) = gs.elastic(fcc(lattice_constant=3.6), potential, relax_ions=False)
    assert outcome.unwrap().stable
    with pytest.raises(gs.GroundstateError, match=r"E-OPTION: .* 'strian'"):
        gs.elastic(fcc(), potential, strian=0.01)
    config = PhononConfig(supercell=((2, 0, 0), (0, 2, 0), (0, 0, 2)))
    stable = gs.phonons(
        fcc(lattice_constant=3.6), potential, supercell=config.supercell, mesh_length=15.0, points_per_segment=5
    )[0]
    with pytest.raises(gs.GroundstateError, match="E-MODE-STABLE"):
        gs.follow_mode(stable, potential)
