"""Two processes that share every batch take the steps of one, stop together, and fail together."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.training import TrainConfig, train
from training.specimens import copper, learner

CONFIG = TrainConfig(
    epochs=3,
    batch_size=3,
    weights={"energy": 1.0, "forces": 1.0, "stress": 10.0},
    learning_rate=0.1,
    largest_offset=10.0,
    accelerator="cpu",
)
STOPS = replace(CONFIG, epochs=50, learning_rate=1e-20, patience=2, accumulate=2)
_HEAD = """
import os, sys
from dataclasses import replace
from pathlib import Path
import torch
from training.specimens import copper, learner
from training.test_training_parallel import CONFIG, STOPS
from groundstate.training import loop, train
torch.set_num_threads(1)
folder, second = Path(sys.argv[1]), os.environ.get("LOCAL_RANK", "0") != "0"
data = copper(7, seed=1), copper(3, seed=2)
"""
_LEARN = """
train(learner(dtype=torch.float64), *data, replace(CONFIG, devices=2), folder / "two")
result = train(learner(dtype=torch.float64), *data, replace(STOPS, devices=2), folder / "stopped")
assert (result.stopped, len(result.history)) == ("patience", 3), result
"""
_FAIL = """
whole = loop.Loop._step
def broken(self, step, pieces):
    if second and step.number == 1:
        raise OSError("disk on fire")
    whole(self, step, pieces)
loop.Loop._step = broken
train(learner(dtype=torch.float64), *data, replace(CONFIG, devices=2), folder / "failed")
"""
_TOLD = """
import signal, time
whole = loop.Loop._step
def told(self, step, pieces):
    whole(self, step, pieces)
    if second and self.state.counters.step == 4:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
loop.Loop._step = told
train(learner(dtype=torch.float64), *data, replace(CONFIG, devices=2), folder / "told")
"""


def in_two_processes(tmp_path: Path, script: str, *launcher: str) -> tuple[int, str]:
    """The exit status, and what was said."""
    file = tmp_path / "script.py"
    file.write_text(_HEAD + script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, *launcher, str(file), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stderr


@pytest.mark.slow  # two interpreters import torch and lightning
def test_two_processes_give_the_losses_of_one_and_stop_together(tmp_path: Path) -> None:
    status, said = in_two_processes(tmp_path, _LEARN)
    assert status == 0, said
    # Seven frames in batches of three: the last batch leaves the second process without a frame.
    data, folder = (copper(7, seed=1), copper(3, seed=2)), tmp_path / "two"
    one = train(learner(dtype=torch.float64), *data, CONFIG, tmp_path / "one")
    two = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for mine, theirs in zip(one.history, two, strict=True):
        assert {**theirs, "seconds": 0.0} == pytest.approx({**mine, "seconds": 0.0}, rel=1e-9)
    again = train(learner(dtype=torch.float64), *data, CONFIG, folder)  # one process may take up the folder of two
    assert again.after["forces"].rmse == pytest.approx(one.after["forces"].rmse, rel=1e-9)


@pytest.mark.slow  # three interpreters import torch
def test_processes_of_torchrun_are_those_of_the_run(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    status, said = in_two_processes(tmp_path, _LEARN.replace(", devices=2", ""), *launcher)
    assert status == 0, said
    assert len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == CONFIG.epochs


@pytest.mark.slow  # two interpreters import torch and lightning
def test_a_process_that_fails_ends_the_other_and_is_named(tmp_path: Path) -> None:
    status, said = in_two_processes(tmp_path, _FAIL)
    assert status != 0
    assert "process 0 ends because another failed first: process 1: OSError: disk on fire" in said
    assert not (tmp_path / "failed" / "model.safetensors").exists()


@pytest.mark.slow  # two interpreters import torch and lightning
def test_a_signal_to_one_process_stops_both_with_a_checkpoint(tmp_path: Path) -> None:
    status, said = in_two_processes(tmp_path, _TOLD)
    assert status != 0
    assert said.count("E-RUN-INTERRUPTED") == 2, said
    data = copper(7, seed=1), copper(3, seed=2)
    resumed = train(learner(dtype=torch.float64), *data, CONFIG, tmp_path / "told")
    whole = train(learner(dtype=torch.float64), *data, CONFIG, tmp_path / "whole")
    assert resumed.best["loss"] == pytest.approx(whole.best["loss"], rel=1e-9)
