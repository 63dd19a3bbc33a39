"""The verbs label and check as a user meets them, by the cheapest of references."""

import json
from pathlib import Path

import pytest

import groundstate as gs
from groundstate.atoms import OptionError
from groundstate.data import read
from groundstate.quantum import ASE

COPPER = """4
Lattice="3.61 0 0 0 3.61 0 0 0 3.61" Properties=species:S:1:pos:R:3 pbc="T T T"
Cu 0.00 0.00 0.00
Cu 0.00 1.805 1.805
Cu 1.805 0.05 1.805
Cu 1.805 1.805 {z}
"""
EMT = ("--engine", "ase", "--method", "EMT", "-s", "factory=ase.calculators.emt:EMT")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "copper.extxyz"
    path.write_text(COPPER.format(z=0.0) + COPPER.format(z=0.1))
    return path


def test_labels_are_left_with_their_theory_and_a_report(run, file, tmp_path):
    folder = tmp_path / "labels"
    words = ("label", file, *EMT, "--output", folder, "--processes", "2", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    record = json.loads(out)
    assert [row["status"] for row in record["structures"]] == ["computed", "computed"]
    assert record["theory"]["functional"] == "EMT"
    assert json.loads((folder / "report.json").read_text())["title"] == "Reference labels"
    first, second = read(folder / "labels.extxyz").records
    assert first.theory.functional == "EMT"
    assert first.provenance.keys["energy"] == "REF_energy"
    assert second.labels["forces"].tolist() == record["structures"][1]["values"]["forces"]
    code, out, _ = run(*words)
    assert code == 0
    assert [row["status"] for row in json.loads(out)["structures"]] == ["on disk", "on disk"]


def test_refusals_have_their_codes(run, file):
    code, _, err = run("label", file, "--engine", "gpaww")
    assert (code, "Did you mean 'gpaw'" in err) == (2, True)
    code, _, err = run("label", file, *EMT, "-s", "factroy=1")
    assert (code, "Did you mean 'factory'" in err) == (2, True)
    code, out, err = run("label", file, "--engine", "xtb", "--json")
    assert code == 1
    assert json.loads(out)["structures"][0]["reason"] == "E-NOT-A-MOLECULE"


def test_the_python_door_takes_a_name_with_settings_or_an_engine(file):
    (first, _), (second, _) = (
        gs.label(file, "ase", method="EMT", factory="ase.calculators.emt:EMT"),
        gs.label(file, ASE("ase.calculators.emt:EMT", "EMT")),
    )
    assert first.theory == second.theory
    assert float(first.values["energy"]) == float(second.values["energy"])
    with pytest.raises(OptionError, match="E-OPTION-CONFLICT"):
        gs.label(file, ASE("ase.calculators.emt:EMT", "EMT"), method="PBE")


def test_a_model_is_checked(run, file, tmp_path):
    from groundstate.potentials import checkpoint
    from groundstate.potentials.mace import MACEConfig, build

    model = tmp_path / "tiny.safetensors"
    config = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=3.5, dtype="float64")
    checkpoint.save(build(config, elements=(29,), reference_energies=[{29: -3.0}], seed=0), model)
    code, out, err = run("check", file, "--model", model, *EMT, "--report", tmp_path / "check.html", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["structures"][0]["Δ(ΔE) (meV/atom)"] is None
    assert isinstance(record["structures"][1]["Δ(ΔE) (meV/atom)"], float)
    assert record["summary"]["ΔF rms (eV/Å)"] > 0
    assert any("theory" in note for note in record["notes"])
    assert (tmp_path / "check.html").stat().st_size > 1000
