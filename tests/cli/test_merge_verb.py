"""`groundstate models merge`: a model file for one composition, and its refusals."""

import json
from pathlib import Path

import pytest

from command_line import Run
from groundstate.atoms import LevelOfTheory
from groundstate.potentials import checkpoint
from groundstate.potentials.mace import MACEConfig, build

MGO = Path(__file__).parents[2] / "examples" / "oxides" / "MgO.cif"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with experts and two levels of theory."""
    path = tmp_path_factory.mktemp("model") / "experts.safetensors"
    config = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=3.5, experts=3)
    references = [{8: -7.0, 12: -5.0}, {8: -70.0, 12: -50.0}]
    theories = (LevelOfTheory("PBE"), LevelOfTheory("r2SCAN"))
    checkpoint.save(build(config, elements=(8, 12), reference_energies=references, theories=theories), path)
    return path


def test_a_merged_file_answers_as_the_experts_do(run: Run, model: Path, tmp_path: Path) -> None:
    merged = tmp_path / "MgO.safetensors"
    code, out, _ = run("models", "merge", model, MGO, "--output", merged, "--json")
    assert code == 0
    assert json.loads(out)["merged"]["composition"] == {"Mg": 0.5, "O": 0.5}
    energies = []
    for one in (model, merged):
        code, out, _ = run("predict", MGO, "--model", one, "--json")
        assert code == 0
        energies.append(json.loads(out)["structures"][0]["energy"])
    assert energies[1] == pytest.approx(energies[0], abs=1e-4)
    assert checkpoint.inspect(merged)["notes"]["merged"]["of"] == checkpoint.inspect(model)["fingerprint"]


def test_a_level_is_chosen_by_name_or_number(run: Run, model: Path, tmp_path: Path) -> None:
    ids = []
    for theory in ("r2SCAN", "1", "PBE"):
        words = ("models", "merge", model, MGO, "--theory", theory, "--json")
        code, out, _ = run(*words, "--output", tmp_path / f"{theory}.safetensors")
        assert code == 0
        ids.append(json.loads(out)["id"])
    assert ids[0] == ids[1] != ids[2]
    code, _, err = run("models", "merge", model, MGO, "--theory", "SCAN", "--output", tmp_path / "x.safetensors")
    assert code == 2
    assert "E-THEORY-UNKNOWN" in err
    assert "r2SCAN" in err


def test_refusals(run: Run, model: Path, tmp_path: Path) -> None:
    merged = tmp_path / "MgO.safetensors"
    assert run("models", "merge", model, MGO, "--output", merged)[0] == 0
    code, _, err = run("models", "merge", merged, MGO, "--output", tmp_path / "again.safetensors")
    assert (code, "E-EXPERTS-NONE" in err) == (2, True)
    code, _, err = run("models", "merge", model, MGO, "--output", merged)
    assert code != 0
    assert "--overwrite" in err
    magnesium = tmp_path / "Mg.xyz"
    magnesium.write_text('2\npbc="F F F"\nMg 0 0 0\nMg 0 0 3\n', encoding="utf-8")
    code, out, _ = run("predict", magnesium, MGO, "--model", merged, "--json")
    problems = [row["problem"] for row in json.loads(out)["structures"]]
    assert code == 1
    assert [problem and problem["code"] for problem in problems] == ["E-EXPERTS-COMPOSITION", None]
