"""The steps by which the default model is made, each once, on a handful of structures."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.data import covalent_radii
from numpy.typing import NDArray

import groundstate as gs
from groundstate.atoms import System, pair_distances
from groundstate.data.store import open_store
from groundstate.potentials import Model, Potential, checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig, rebuild

RECIPE = Path(__file__).parents[2] / "recipes" / "groundstate_0"


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(RECIPE / f"{script}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packings, a few steps down, labelled, and put into a store; the default model is its own teacher."""
    folder = tmp_path_factory.mktemp("recipe")
    run("structures", "--set", "ions", "--scale", 0.0015, "--crystals", folder, "--output", folder / "ions")
    label = ("label", "--model", "groundstate-0-S")
    run(*label, "--descend", 2, "--structures", folder / "ions", "--output", folder / "ions-1")
    run(*label, "--structures", folder / "ions-1", "--output", folder / "labels")
    run("assemble", "--structures", folder / "ions-1", "--labels", folder / "labels", "--output", folder / "sets")
    return folder


def shard(file: Path) -> dict[str, NDArray[np.float64]]:
    with np.load(file) as stored:
        return dict(stored)


def test_packings_hold_whole_units_that_do_not_overlap(made: Path) -> None:
    stored = shard(made / "ions" / "structures-0000.npz")
    assert 5 <= len(stored["ptr"]) - 1 <= 9
    volumes = []
    for i, (first, end) in enumerate(zip(stored["ptr"], stored["ptr"][1:], strict=False)):
        numbers = stored["numbers"][first:end].astype(np.int64)
        cell = stored["cells"][i].astype(float)
        system = System.single(stored["positions"][first:end].astype(float), numbers, cell=cell, pbc=True)
        a, b, distances = pair_distances(system, 3.0)
        assert (distances > 0.55 * (covalent_radii[numbers[a]] + covalent_radii[numbers[b]])).all()
        volumes.append(abs(np.linalg.det(cell)) / len(numbers))
    assert 5 < np.median(volumes) < 50  # Å³ per atom, of gases thrown together with metals


def test_a_store_holds_what_the_teacher_said(made: Path) -> None:
    records = open_store(made / "sets" / "train")
    assert 3 <= len(records) <= 9
    teacher = gs.load("groundstate-0-S").potential
    record = records[0]
    said = evaluate(teacher, record.system, ("energy", "forces"))
    torch.testing.assert_close(said["energy"], record.labels["energy"].reshape(1), rtol=0, atol=1e-3)
    torch.testing.assert_close(said["forces"], record.labels["forces"], rtol=0, atol=1e-3)
    assert record.theory is not None
    assert record.theory.functional == "PBE"


def without_hold(model: Potential) -> Potential:
    """As models were before they held at the nearest distance."""
    assert isinstance(model, Model)
    description = model.describe()
    config = replace(MACEConfig.from_dict(description["config"]), hold_at_nearest=False)
    plain = rebuild({**description, "config": config.as_dict()})
    plain.load_state_dict({name: model.state_dict()[name] for name in plain.state_dict()})
    return plain.eval()


def test_holding_changes_nothing_that_was_taught(made: Path, tmp_path: Path) -> None:
    given, file = without_hold(gs.load("groundstate-0-S").potential), tmp_path / "given.safetensors"
    checkpoint.save(given, file)
    run("hold", file, "--taught", made / "sets" / "train", "--output", tmp_path / "held.safetensors")
    held = checkpoint.load(tmp_path / "held.safetensors")
    for record in open_store(made / "sets" / "train"):
        before, after = (evaluate(model, record.system, ("forces",))["forces"] for model in (given, held))
        torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    pushed = System.single([[0.0, 0.0, 0.0], [0.0, 0.0, 0.55]], [1, 1])
    felt, held_back = (evaluate(model, pushed, ("forces",))["forces"] for model in (given, held))
    assert (felt - held_back).abs().max() > 0.1
