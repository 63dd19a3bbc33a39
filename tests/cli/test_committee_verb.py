"""`groundstate models committee`: one file of several models."""

import json
from pathlib import Path

import pytest

from command_line import Run
from groundstate.potentials import checkpoint
from groundstate.potentials.mace import MACEConfig, build

MGO = Path(__file__).parents[2] / "examples" / "oxides" / "MgO.cif"


def model(path: Path, seed: int, elements: tuple[int, ...] = (8, 12)) -> Path:
    config = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=3.5)
    checkpoint.save(
        build(config, elements=elements, reference_energies=[dict.fromkeys(elements, -5.0)], seed=seed), path
    )
    return path


def test_a_committee_answers_with_the_mean(run: Run, tmp_path: Path) -> None:
    members = [model(tmp_path / f"{seed}.safetensors", seed) for seed in range(2)]
    joined = tmp_path / "both.safetensors"
    code, out, _ = run("models", "committee", *members, "--output", joined, "--json")
    assert code == 0
    assert json.loads(out)["members"] == [checkpoint.inspect(one)["fingerprint"] for one in members]
    energies = []
    for one in (*members, joined):
        code, out, _ = run("predict", MGO, "--model", one, "--json")
        assert code == 0
        energies.append(json.loads(out)["structures"][0]["energy"])
    assert energies[2] == pytest.approx((energies[0] + energies[1]) / 2, abs=1e-5)
    assert energies[0] != pytest.approx(energies[1], abs=1e-3)


def test_refusals(run: Run, tmp_path: Path) -> None:
    one, other = model(tmp_path / "a.safetensors", 0), model(tmp_path / "b.safetensors", 0, (12,))
    code, _, err = run("models", "committee", one, other, "--output", tmp_path / "c.safetensors")
    assert (code, "E-COMMITTEE" in err) == (2, True)
    assert run("models", "committee", one, one, "--output", tmp_path / "c.safetensors")[0] == 0
    code, _, err = run("models", "committee", one, one, "--output", tmp_path / "c.safetensors")
    assert (code, "E-OUTPUT-EXISTS" in err) == (7, True)
