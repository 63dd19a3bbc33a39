"""A run that was killed goes on as if it had never stopped."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from groundstate.atoms import RunError
from groundstate.data import Record
from groundstate.training import TrainConfig, TrainResult, train
from groundstate.training.loop import Loop
from groundstate.training.run_folder import RunFolder
from training.specimens import learner

CONFIG = TrainConfig(
    epochs=4,
    batch_size=8,
    weights={"energy": 1.0, "forces": 1.0},
    learning_rate=0.1,
    largest_offset=10.0,
    checkpoint_every_minutes=0.0,
    accelerator="cpu",
)
_CHILD = """
import sys, time
import torch
from training.specimens import copper, learner
from training.test_training_resume import CONFIG
from groundstate.training import loop, train
step = loop.Loop._step
def slow(self, *given):
    step(self, *given)
    time.sleep(0.05)
loop.Loop._step = slow
torch.set_num_threads(int(sys.argv[2]))
train(learner(), copper(24, seed=1), copper(8, seed=2), CONFIG, sys.argv[1])
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, records: list[Record], held_out: list[Record]) -> TrainResult:
    """The same run, never interrupted."""
    return train(learner(), records, held_out, CONFIG, tmp_path_factory.mktemp("whole"))


class PowerCutError(Exception):
    """Stands for a power cut."""


def same_numbers(history: tuple[dict, ...]) -> list[dict]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in history]


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_resume_is_exact_after_any_step(
    tmp_path: Path,
    records: list[Record],
    held_out: list[Record],
    whole: TrainResult,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
) -> None:
    save, saved = RunFolder.save_checkpoint, []

    def fail_later(self: RunFolder, *given: object) -> None:
        save(self, *given)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) == steps:
            raise PowerCutError

    monkeypatch.setattr(RunFolder, "save_checkpoint", fail_later)
    with pytest.raises(PowerCutError):
        train(learner(), records, held_out, CONFIG, tmp_path / "cut")
    monkeypatch.undo()
    resumed = train(learner(), records, held_out, CONFIG, tmp_path / "cut")
    assert resumed.potential.fingerprint() == whole.potential.fingerprint()
    assert same_numbers(resumed.history) == same_numbers(whole.history)
    assert len((tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()) == CONFIG.epochs


def test_kill_and_resume(tmp_path: Path, records: list[Record], held_out: list[Record], whole: TrainResult) -> None:
    folder = tmp_path / "killed"
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    threads = str(torch.get_num_threads())
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(folder), threads], env=environment)
    deadline = time.monotonic() + 60
    while not list(folder.glob("checkpoint-00000000[4-7]*")) and time.monotonic() < deadline:
        assert child.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    with pytest.raises(Exception, match="E-RUN-LOCKED"):
        train(learner(), records, held_out, CONFIG, folder)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (folder / "model.safetensors").exists()
    resumed = train(learner(), records, held_out, CONFIG, folder)  # the dead process holds no lock
    assert resumed.potential.fingerprint() == whole.potential.fingerprint()
    assert same_numbers(resumed.history) == same_numbers(whole.history)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_keeps_its_state(
    tmp_path: Path,
    records: list[Record],
    held_out: list[Record],
    whole: TrainResult,
    monkeypatch: pytest.MonkeyPatch,
    sent: signal.Signals,
) -> None:
    step = Loop._step

    def told(self: Loop, *given: Any) -> None:
        if self.state.counters.step == 4:
            os.kill(os.getpid(), sent)
        step(self, *given)

    monkeypatch.setattr(Loop, "_step", told)
    before = signal.getsignal(sent)
    config = replace(CONFIG, checkpoint_every_minutes=1e9)
    with pytest.raises(RunError, match=rf"E-RUN-INTERRUPTED.*{sent.name}.*after step 5"):
        train(learner(), records, held_out, config, tmp_path)
    assert signal.getsignal(sent) == before
    monkeypatch.undo()
    resumed = train(learner(), records, held_out, CONFIG, tmp_path)
    assert resumed.potential.fingerprint() == whole.potential.fingerprint()
    assert same_numbers(resumed.history) == same_numbers(whole.history)
