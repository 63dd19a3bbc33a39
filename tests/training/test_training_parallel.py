"""Two processes that share every batch take the steps of one."""

import json
import os
import subprocess
import sys
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
_SCRIPT = """
import sys
from dataclasses import replace
import torch
import torch
from training.specimens import copper, learner
from training.test_training_parallel import CONFIG
from groundstate.training import train
torch.set_num_threads(1)
train(learner(dtype=torch.float64), copper(7, seed=1), copper(3, seed=2), replace(CONFIG, devices=2), sys.argv[1])
"""


@pytest.mark.slow  # three interpreters import torch and lightning
def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "two"
    script.write_text(_SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # Seven frames in batches of three: the last batch leaves the second process without a frame.
    data = copper(7, seed=1), copper(3, seed=2)
    one = train(learner(dtype=torch.float64), *data, CONFIG, tmp_path / "one")
    two = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for mine, theirs in zip(one.history, two, strict=True):
        assert {**theirs, "seconds": 0.0} == pytest.approx({**mine, "seconds": 0.0}, rel=1e-9)
    again = train(learner(dtype=torch.float64), *data, CONFIG, folder)  # one process may take up the folder of two
    assert again.after["forces"].rmse == pytest.approx(one.after["forces"].rmse, rel=1e-9)
