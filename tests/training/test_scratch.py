"""From labels to a model file, with nothing else given."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import GroundstateError, LevelOfTheory, System, find_neighbours
from groundstate.data import Record
from groundstate.potentials import checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig
from groundstate.training import TrainConfig, train_from_scratch
from groundstate.training.scratch import build_for, mean_neighbours
from training.specimens import copper

SMALL = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=3.5)
CONFIG = TrainConfig(epochs=2, batch_size=4, weights={"energy": 1.0, "forces": 1.0}, accelerator="cpu")


def test_trains_and_loads(tmp_path: Path) -> None:
    theory = LevelOfTheory("PBE")
    train_records = [replace(record, theory=theory) for record in copper(8, seed=1)]
    result = train_from_scratch(train_records, copper(3, seed=2), SMALL, CONFIG, tmp_path)
    loaded = checkpoint.load(result.path)
    assert loaded.fingerprint() == result.potential.fingerprint()
    assert loaded.theories == (theory,)
    assert "rank 1 of 1" in checkpoint.inspect(result.path)["notes"]["training"]["references"]["note"]
    assert result.after["forces"].rmse < result.before["forces"].rmse


def test_isolated_atoms_are_references(tmp_path: Path) -> None:
    atom = System.single([[0.0, 0, 0]], [29])
    isolated = Record(atom, {"energy": torch.tensor(0.5).double(), "forces": torch.zeros(1, 3).double()})
    result = train_from_scratch([*copper(6, seed=1), isolated], copper(3, seed=2), SMALL, CONFIG, tmp_path)
    energy = evaluate(checkpoint.load(result.path), atom, ("energy",))["energy"]
    assert float(energy) == pytest.approx(0.5, abs=1e-9)


def test_isolated_atoms_of_another_code_are_refused(tmp_path: Path) -> None:
    for energy in (-40.0, +40.0):
        atom = Record(System.single([[0.0, 0, 0]], [29]), {"energy": torch.tensor(energy).double()})
        with pytest.raises(GroundstateError, match="E-REFERENCE-RESIDUAL"):
            train_from_scratch([*copper(6, seed=1), atom], copper(3, seed=2), SMALL, CONFIG, tmp_path)


def test_the_scale_is_the_data_s() -> None:
    records = copper(4, seed=1)
    model = build_for(records, SMALL, {29: -1.0}, 0)
    rms = torch.cat([record.labels["forces"].reshape(-1) for record in records]).square().mean().sqrt()
    assert model.describe()["config"]["scale"] == pytest.approx(float(rms))
    counted = find_neighbours(System.batch([record.system for record in records]), 3.5).n_edges / 16
    assert mean_neighbours(records, 3.5) == pytest.approx(counted)


def test_remembers_as_many_structures_as_asked(tmp_path: Path) -> None:
    taught = copper(8, seed=1)
    result = train_from_scratch(taught, copper(3, seed=2), SMALL, replace(CONFIG, epochs=1, remember=3), tmp_path)
    remembered = checkpoint.load(result.path).remembered
    assert remembered is not None
    positions = [record.system.positions for record in taught]
    found = [i for s in remembered for i, p in enumerate(positions) if torch.allclose(s.positions, p, atol=1e-5)]
    assert len(set(found)) == len(found) == 3
