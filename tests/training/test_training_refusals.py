"""Every contradiction has its code, and is met before anything is computed."""

import builtins
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from groundstate.atoms import GroundstateError, LevelOfTheory, System
from groundstate.data import Record
from groundstate.data.files import owned_folder
from groundstate.potentials import Energy, evaluate
from groundstate.training import TrainConfig, train
from groundstate.training.run_folder import RunFolder
from small_mace import crystal, small
from training.specimens import LearnablePair, copper, learner

CONFIG = TrainConfig(
    epochs=2, batch_size=4, weights={"energy": 1.0, "forces": 1.0}, largest_offset=10.0, accelerator="cpu"
)
STRESS = {"energy": 1.0, "stress": 1.0}


def without(record: Record, name: str) -> Record:
    return replace(record, labels={key: value for key, value in record.labels.items() if key != name})


def relabelled(record: Record, **labels: torch.Tensor) -> Record:
    return replace(record, labels={**record.labels, **labels})


def molecule(record: Record) -> Record:
    return replace(record, system=record.system.replace(pbc=torch.zeros(1, 3, dtype=torch.bool)))


def gold(record: Record) -> Record:
    return replace(record, system=record.system.replace(numbers=torch.full_like(record.system.numbers, 79)))


def overlapping(record: Record) -> Record:
    return replace(record, system=record.system.replace(positions=torch.zeros_like(record.system.positions)))


Change = Callable[[list[Record], list[Record]], tuple[list[Record], list[Record]]]
REFUSED: list[tuple[str, dict[str, Any], Change]] = [
    ("E-DATA-EMPTY", {}, lambda t, v: ([], v)),
    ("E-DATA-EMPTY", {}, lambda t, v: (t, [])),
    ("E-BATCH-LARGER", {"batch_size": 99}, lambda t, v: (t, v)),
    ("E-WEIGHT-QUANTITY", {"weights": {"charges": 1.0}}, lambda t, v: (t, v)),
    ("E-WEIGHT-QUANTITY", {"weights": {"born_charges": 1.0}}, lambda t, v: (t, v)),
    ("E-STRESS-NON-PERIODIC", {"weights": STRESS}, lambda t, v: ([*t[1:], molecule(t[0])], v)),
    ("E-STRESS-NON-PERIODIC", {"weights": STRESS, "missing": "mask"}, lambda t, v: ([*t[1:], molecule(t[0])], v)),
    ("E-WEIGHT-WITHOUT-LABELS", {"missing": "mask"}, lambda t, v: ([without(r, "forces") for r in t], v)),
    ("E-LABEL-MISSING", {}, lambda t, v: ([*t[1:], without(t[0], "forces")], v)),
    ("E-LABEL-NOT-FINITE", {}, lambda t, v: ([*t[1:], relabelled(t[0], energy=torch.tensor(torch.nan).double())], v)),
    ("E-ATOMS-COINCIDE", {}, lambda t, v: ([*t[1:], overlapping(t[0])], v)),
    (
        "E-THEORY-MIXED",
        {},
        lambda t, v: (
            [replace(t[0], theory=LevelOfTheory("PBE")), replace(t[1], theory=LevelOfTheory("LDA")), *t[2:]],
            v,
        ),
    ),
    ("E-ELEMENT-UNTRAINED", {}, lambda t, v: (t, [gold(v[0])])),
    ("E-LEAK", {}, lambda t, v: (t, [*v, t[3]])),
    (
        "E-REFERENCE-MISMATCH",
        {"largest_offset": 1.0},
        lambda t, v: (t, [relabelled(r, energy=r.labels["energy"] + 40.0) for r in v]),
    ),
    (
        "E-REFERENCE-MISMATCH",
        {"largest_offset": 1.0},
        lambda t, v: (t, [relabelled(r, energy=r.labels["energy"] - 40.0) for r in v]),
    ),
    ("E-DEVICE-MISSING", {"accelerator": "mps"}, lambda t, v: (t, v)),
]


@pytest.mark.parametrize(("code", "options", "change"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused(tmp_path: Path, code: str, options: dict[str, Any], change: Change) -> None:
    train_records, valid = change(copper(6, seed=3), copper(2, seed=4))
    with pytest.raises(GroundstateError) as caught:
        train(learner(), train_records, valid, replace(CONFIG, **options), tmp_path / "run")
    assert caught.value.code == code
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_offsets_of_two_theories_do_not_cancel(tmp_path: Path) -> None:
    model = small(theories=2).requires_grad_(True)

    def labelled(theory: int, offset: float, seed: int) -> Record:
        system = crystal(seed, theory=theory)
        values = evaluate(model, system, ("energy", "forces"))
        energy = values["energy"][0].detach() + offset * system.n_atoms
        labels = {"energy": energy, "forces": values["forces"].detach()}
        return Record(system, labels, LevelOfTheory(("PBE", "r2SCAN")[theory]))

    train_records = [labelled(seed % 2, 0.0, seed) for seed in range(4)]
    valid = [labelled(0, 3.0, 10), labelled(1, -3.0, 11)]
    with pytest.raises(GroundstateError, match=r"E-REFERENCE-MISMATCH.* of PBE.*-3 eV/atom"):
        train(model, train_records, valid, replace(CONFIG, largest_offset=1.0), tmp_path)


def test_masked_labels_are_accepted(tmp_path: Path) -> None:
    records = copper(6, seed=3)
    records[0] = without(records[0], "forces")
    result = train(learner(), records, copper(2, seed=4), replace(CONFIG, missing="mask"), tmp_path)
    assert result.after.frames == 2


def test_missing_frames_are_named(tmp_path: Path) -> None:
    records = copper(6, seed=3)
    records[4] = without(records[4], "energy")
    with pytest.raises(GroundstateError, match=r"1 of 6 training frames \(copper.xyz: 4\)"):
        train(learner(), records, copper(2, seed=4), CONFIG, tmp_path)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"weights": {"enregy": 1.0}}, "E-QUANTITY-UNKNOWN"),
        ({"weights": {"energy": 0.0}}, "E-OPTION-RANGE"),
        ({"final_weights": {"energy": 0.0}}, "E-OPTION-RANGE"),
        ({"final_weights": {"stress": 1.0}}, "E-OPTION-RANGE"),
        ({"epochs": 0}, "E-OPTION-RANGE"),
        ({"ema_decay": 1.0}, "E-OPTION-RANGE"),
        ({"time_limit_minutes": -1.0}, "E-OPTION-RANGE"),
        ({"accelerator": "cudo"}, r"E-OPTION-CHOICE.*'cuda'"),
        ({"loss": "hubert"}, r"E-OPTION-CHOICE.*'huber'"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], code: str) -> None:
    with pytest.raises(GroundstateError, match=code):
        TrainConfig(**options)


def test_loss_of_exactly_zero_stops(tmp_path: Path) -> None:
    def own(record: Record) -> Record:
        found = evaluate(learner(), record.system, ("energy", "forces"))
        return relabelled(record, energy=found["energy"][0], forces=found["forces"])

    with pytest.raises(GroundstateError, match="E-LOSS-ZERO"):
        train(learner(), [own(r) for r in copper(4, seed=3)], copper(2, seed=4), CONFIG, tmp_path)


def test_nan_later_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, calls = LearnablePair.forward, []

    def breaks(self: LearnablePair, *given: Any) -> Energy:
        calls.append(1)
        energy = forward(self, *given)
        return Energy(energy.per_system * (torch.nan if len(calls) > 5 else 1.0), energy.per_atom)

    # before: 1 call; an epoch: 2 steps and 1 evaluation; so the second step of the second epoch fails
    monkeypatch.setattr(LearnablePair, "forward", breaks)
    records, valid = copper(8, seed=3), copper(2, seed=4)
    with pytest.raises(GroundstateError, match=r"E-LOSS-NOT-FINITE.*last checkpoint is intact"):
        train(learner(), records, valid, CONFIG, tmp_path)
    assert (tmp_path / "latest").exists()
    assert not (tmp_path / "model.safetensors").exists()
    monkeypatch.undo()
    assert train(learner(), records, valid, CONFIG, tmp_path).stopped == "epochs"


def test_nothing_to_train(tmp_path: Path) -> None:
    with pytest.raises(GroundstateError, match="E-NOTHING-TO-TRAIN"):
        train(learner().requires_grad_(False), copper(6, seed=3), copper(2, seed=4), CONFIG, tmp_path)


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    records, valid = copper(6, seed=3), copper(2, seed=4)
    train(learner(), records, valid, CONFIG, tmp_path)
    for other in (replace(CONFIG, learning_rate=0.5), replace(CONFIG, weights={"energy": 1.0})):
        with pytest.raises(GroundstateError, match="E-RUN-MISMATCH"):
            train(learner(), records, valid, other, tmp_path)
    with pytest.raises(GroundstateError, match=r"E-RUN-MISMATCH.*data\.train"):
        train(learner(), records[:5], valid, CONFIG, tmp_path)
    with pytest.raises(GroundstateError, match=r"E-RUN-MISMATCH.*potential"):
        train(learner(seed=1), records, valid, CONFIG, tmp_path)
    again = train(learner(), records, valid, replace(CONFIG, learning_rate=0.5), tmp_path, overwrite=True)
    assert json.loads((tmp_path / "run.json").read_text())["config"]["learning_rate"] == 0.5
    assert again.stopped == "epochs"


def test_a_foreign_model_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(GroundstateError, match="E-OUTPUT-EXISTS"):
        train(learner(), copper(6, seed=3), copper(2, seed=4), CONFIG, tmp_path)
    assert (tmp_path / "model.safetensors").read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GroundstateError, match="E-OUTPUT-UNWRITABLE"):
        train(learner(), copper(6, seed=3), copper(2, seed=4), CONFIG, tmp_path / "file" / "run")


def test_a_locked_folder(tmp_path: Path) -> None:
    with owned_folder(tmp_path), pytest.raises(GroundstateError, match=r"E-RUN-LOCKED.*process \d+"):
        train(learner(), copper(6, seed=3), copper(2, seed=4), CONFIG, tmp_path)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    folder.write("latest", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(GroundstateError, match=r"E-WRITE.*No space left"):
        folder.write("latest", b"new")
    assert (tmp_path / "latest").read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["latest"]


@pytest.mark.parametrize(
    ("module", "options"), [("lightning_fabric", {}), ("torch.utils.tensorboard", {"tensorboard": True})]
)
def test_missing_extras_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, options: dict[str, Any]
) -> None:
    find = builtins.__import__

    def absent(name: str, *given: Any, **more: Any) -> Any:
        if name == module:
            raise ModuleNotFoundError(name)
        return find(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(GroundstateError, match=r"E-EXTRA-MISSING.*pip install"):
        train(learner(), copper(6, seed=3), copper(2, seed=4), replace(CONFIG, **options), tmp_path)


def test_energies_of_one_system_only_need_no_graph(tmp_path: Path) -> None:
    """An isolated atom has no parameter in its energy; the step it makes is empty, not an error."""
    atom = Record(System.single([[0.0, 0, 0]], [29]), {"energy": torch.tensor(0.1).double()})
    records, valid = [atom, *copper(3, seed=3, labels=("energy",))], copper(2, seed=4)
    config = replace(CONFIG, batch_size=1, weights={"energy": 1.0}, epochs=1)
    assert train(learner(), records, valid, config, tmp_path).stopped == "epochs"
