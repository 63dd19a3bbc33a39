"""A trained model goes on with other labels, and gains heads."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import OptionError
from groundstate.data import Record
from groundstate.potentials import Sum, checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig, grown
from groundstate.training import TrainConfig, train_from_scratch, train_further
from small_mace import crystal, small
from training.specimens import copper

SMALL = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=3.5)
CONFIG = TrainConfig(epochs=4, batch_size=4, weights={"energy": 1.0, "forces": 1.0}, accelerator="cpu")
ALL = ("energy", "forces", "stress")


def with_moments(records: list[Record]) -> list[Record]:
    """Moments of half a Bohr magneton on every atom."""
    return [replace(r, labels=r.labels | {"magnetic_moments": torch.full((r.n_atoms,), 0.5).double()}) for r in records]


def test_a_grown_model_gives_what_it_gave() -> None:
    model, system = small(), crystal()
    wider = grown(model, ["magnetic_moments"], seed=3)
    assert wider.provides == {"magnetic_moments"}
    before, after = evaluate(model, system, ALL), evaluate(wider, system, (*ALL, "magnetic_moments"))
    for name in ALL:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0)
    assert torch.isfinite(after["magnetic_moments"]).all()
    assert grown(wider, ["magnetic_moments"]).fingerprint() == wider.fingerprint()


def test_training_goes_on_where_it_was(tmp_path: Path) -> None:
    train, valid = with_moments(copper(8, seed=1)), with_moments(copper(3, seed=2))
    first = train_from_scratch(train, valid, SMALL, replace(CONFIG, remember=2), tmp_path / "first")
    weights = {"energy": 1.0, "forces": 1.0, "magnetic_moments": 1.0}
    further = replace(CONFIG, epochs=20, weights=weights)  # four may not teach a head anything, by seed
    second = train_further(first.potential, train, valid, further, tmp_path / "second")
    assert second.before["forces"].rmse == pytest.approx(first.after["forces"].rmse, rel=1e-6)
    assert second.after["forces"].rmse < first.after["forces"].rmse
    remembered = checkpoint.load(second.path).remembered
    assert remembered is not None
    assert remembered.n_systems == 2
    assert second.after["magnetic_moments"].mae < 0.3 * second.before["magnetic_moments"].mae
    notes = checkpoint.inspect(second.path)["notes"]["training"]
    assert notes["start"] == first.potential.fingerprint()
    assert checkpoint.load(second.path).provides == {"magnetic_moments"}


def test_what_cannot_go_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="E-START-KIND"):
        train_further(Sum([small()]), copper(8, seed=1), copper(3, seed=2), CONFIG, tmp_path)
