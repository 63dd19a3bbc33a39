"""The loop learns, averages, stops when told, and says what it did."""

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from groundstate.atoms import GroundstateError, find_neighbours
from groundstate.data import Batch, Record
from groundstate.potentials import Potential, checkpoint, evaluate
from groundstate.training import Part, TrainConfig, train
from groundstate.training.optimise import AverageWeights, learning_rate, weights_at
from toys import lennard_jones
from training.specimens import CUTOFF, learner

CONFIG = TrainConfig(
    epochs=16,
    batch_size=6,
    weights={"energy": 1.0, "forces": 1.0, "stress": 10.0},
    loss="huber",
    learning_rate=0.5,
    ema_decay=0.9,
    largest_offset=10.0,
    accelerator="cpu",
)


def test_learns_a_pair_potential(tmp_path: Path, records: list[Record], held_out: list[Record]) -> None:
    result = train(learner(20), records, held_out, CONFIG, tmp_path / "run")
    for name in ("energy", "forces", "stress"):
        assert result.after[name].rmse < 0.1 * result.before[name].rmse
    assert result.stopped == "epochs"
    assert result.worse == ()
    assert len(result.history) == 16
    assert result.history[-1]["valid_loss"] == pytest.approx(result.best["loss"], rel=0.5)


def test_the_saved_model_is_the_best_average(tmp_path: Path, records: list[Record], held_out: list[Record]) -> None:
    result = train(learner(), records, held_out, replace(CONFIG, epochs=3), tmp_path)
    loaded = checkpoint.load(tmp_path / "model.safetensors", {"toy-learner": lambda d: learner(d["basis"])})
    assert loaded.fingerprint() == result.potential.fingerprint()
    notes = checkpoint.inspect(tmp_path / "model.safetensors")["notes"]["training"]
    assert notes["config"]["learning_rate"] == 0.5
    assert notes["result"]["after"] == result.after.as_dict()
    assert result.best["forces_rmse"] == pytest.approx(result.after["forces"].rmse, rel=1e-6)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == list(result.history)
    for picture in ("learning_curve.png", "parity.png"):
        assert (tmp_path / picture).exists()


def test_average_of_weights() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    average = AverageWeights({"w": weight}, decay=0.5)
    values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]
    expected = 0.0
    for step, value in enumerate(values):
        with torch.no_grad():
            weight.fill_(value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert float(average.values["w"]) == pytest.approx(expected)
    with average.applied():
        assert float(weight.detach()) == pytest.approx(expected)
    assert float(weight.detach()) == 512.0


def test_learning_rate_over_a_run() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_epochs=2.0, final_learning_rate_fraction=0.1)
    assert learning_rate(config, 0, 10, 0.0, 0) == pytest.approx(1 / 20)
    assert learning_rate(config, 100, 10, 0.5, 0) == pytest.approx(0.55)
    assert learning_rate(config, 200, 10, 1.0, 0) == pytest.approx(0.1)
    plateau = replace(config, schedule="plateau", plateau_factor=0.5)
    assert learning_rate(plateau, 100, 10, 0.5, 2) == pytest.approx(0.25)
    assert learning_rate(plateau, 100, 10, 0.5, 9) == pytest.approx(0.1)


def test_weights_of_a_loss_go_evenly_in_their_logarithm() -> None:
    first, last = {"energy": 1.0, "forces": 10.0}, {"energy": 100.0, "forces": 10.0}
    for progress, energy in ((0.0, 1.0), (0.25, 10.0**0.5), (0.5, 10.0), (1.0, 100.0)):
        assert weights_at(first, last, progress) == {"energy": pytest.approx(energy), "forces": 10.0}


def test_final_weights_are_what_is_learned_last_and_judged_by(
    tmp_path: Path, records: list[Record], held_out: list[Record]
) -> None:
    """A weight that only rises late moves nothing early, and evaluations count it from the first on."""
    small = replace(CONFIG, weights={"energy": 1e-9, "forces": 1.0})
    plain = train(learner(), records, held_out, small, tmp_path / "plain")
    rising = train(learner(), records, held_out, replace(small, final_weights={"energy": 1e3}), tmp_path / "rising")
    assert rising.after["energy"].rmse < 0.5 * plain.after["energy"].rmse
    first = rising.history[0]
    assert first["valid_loss"] > 100 * plain.history[0]["valid_loss"]
    assert first["valid_forces_rmse"] == pytest.approx(plain.history[0]["valid_forces_rmse"], rel=0.05)


STILL = 1e-20
"""A learning rate that moves no float32 weight, so that no evaluation is better than the first."""


def test_stops_early(tmp_path: Path, records: list[Record], held_out: list[Record]) -> None:
    result = train(learner(), records, held_out, replace(CONFIG, learning_rate=STILL, patience=2), tmp_path)
    assert result.stopped == "patience"
    assert len(result.history) == 3
    assert result.best["loss"] == result.history[0]["valid_loss"]


def test_ends_at_the_time_limit_with_a_model(
    tmp_path: Path, records: list[Record], held_out: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    monkeypatch.setattr("groundstate.training.loop.time", SimpleNamespace(monotonic=lambda: 0.1 * next(ticks)))
    config = replace(CONFIG, epochs=10**6, warmup_epochs=0.5, time_limit_minutes=2 / 60)
    result = train(learner(), records, held_out, config, tmp_path)
    assert result.stopped == "time limit"
    assert result.path.exists()
    assert result.seconds == pytest.approx(2, abs=0.5)
    assert result.history[-1]["learning_rate"] < 0.2 * CONFIG.learning_rate  # the cosine followed the clock
    longer = train(learner(), records, held_out, replace(config, time_limit_minutes=4 / 60), tmp_path)
    assert longer.history[: len(result.history)] == result.history
    assert len(longer.history) > len(result.history)


def test_a_finished_run_is_not_run_again(tmp_path: Path, records: list[Record], held_out: list[Record]) -> None:
    config = replace(CONFIG, epochs=2)
    first = train(learner(), records, held_out, config, tmp_path)
    written = first.path.stat().st_mtime_ns
    again = train(learner(), records, held_out, config, tmp_path)
    assert first.path.stat().st_mtime_ns == written
    assert again.potential.fingerprint() == first.potential.fingerprint()
    assert again.as_dict() == first.as_dict()


def test_plateaus_reduce_the_rate(
    tmp_path: Path, records: list[Record], held_out: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(CONFIG, epochs=4, schedule="plateau", plateau_patience=1, learning_rate=STILL, optimiser="adamw")
    result = train(learner(), records, held_out, config, tmp_path, progress=True)
    assert [line["learning_rate"] / STILL for line in result.history] == pytest.approx([1.0, 1.0, 0.5, 0.25])
    assert "epoch" in capsys.readouterr().err


class Distil:
    """An aim without labels: the energies of a teacher."""

    name = "distil"
    weights = {"teaching": 1.0}  # noqa: RUF012 — the protocol's mapping, never changed
    requires: frozenset[str] = frozenset()

    def counts(self, record: Record) -> dict[str, int]:
        return {"teaching": 1}

    def loss(self, potential: Potential, batch: Batch, *, differentiable: bool) -> dict[str, Part]:
        own = evaluate(potential, batch.system, ("energy",), differentiable=differentiable)["energy"]
        error = own - evaluate(lennard_jones(cutoff=CUTOFF), batch.system, ("energy",))["energy"]
        known = error.detach()
        return {"teaching": Part(error.square().sum(), known.square().sum(), known.abs().sum(), len(known))}


def test_any_aim_can_be_trained_on(tmp_path: Path, records: list[Record], held_out: list[Record]) -> None:
    unlabelled, judged = ([replace(r, labels={}) for r in part] for part in (records, held_out))
    result = train(learner(20), unlabelled, judged, replace(CONFIG, epochs=8), tmp_path, aim=Distil())
    first, last = result.history[0], result.history[-1]
    assert last["valid_teaching_rmse"] < 0.5 * first["valid_teaching_rmse"]
    assert result.after.rows == {}


@pytest.mark.parametrize("options", [{"accumulate": 4}, {"workers": 0, "neighbour_cache_MB": 0}, {"workers": 3}])
def test_how_a_step_is_computed_does_not_change_it(
    tmp_path: Path, records: list[Record], held_out: list[Record], options: dict[str, int]
) -> None:
    config = replace(CONFIG, epochs=3, batch_size=7, missing="mask", weights={"energy": 1.0, "forces": 3.0})
    # Labels are missing unevenly, so that means of pieces are not the mean of the whole.
    holed = [replace(r, labels={"energy": r.labels["energy"]}) if i % 3 == 0 else r for i, r in enumerate(records)]
    one, other = (
        train(learner(dtype=torch.float64), holed, held_out, replace(config, **given), tmp_path / name)
        for name, given in (("one", {}), ("other", options))
    )
    tolerance = 1e-9 if "accumulate" in options else 0.0
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert {**theirs, "seconds": 0.0} == pytest.approx({**mine, "seconds": 0.0}, rel=tolerance, abs=tolerance)


def test_steps_packed_by_edges(tmp_path: Path, records: list[Record], held_out: list[Record]) -> None:
    result = train(learner(), records, held_out, replace(CONFIG, epochs=1, max_edges=1000), tmp_path)
    edges = [find_neighbours(record.system, CUTOFF).n_edges for record in records]
    assert sum(edges) / 1000 <= result.history[0]["step"] <= 1.5 * sum(edges) / 1000 + 1


class Miscounting(Distil):
    """Announces what it does not measure."""

    def counts(self, record: Record) -> dict[str, int]:
        return {"teaching": 2}


def test_an_aim_that_miscounts_is_refused(tmp_path: Path, records: list[Record], held_out: list[Record]) -> None:
    with pytest.raises(GroundstateError, match=r"E-AIM-COUNTS.*12 components of 'teaching' and measured 6"):
        train(learner(), records, held_out, CONFIG, tmp_path, aim=Miscounting())
