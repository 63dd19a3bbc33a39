"""What a run will take is told, and refused, before it begins."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from groundstate.atoms import RunError
from groundstate.data import Record
from groundstate.simulation.memory import available
from groundstate.training import TrainConfig, memory, train
from groundstate.training.memory import refuse_too_large
from training.specimens import learner

CPU = torch.device("cpu")
COST = np.full(80, 1_000_000)
linux = pytest.mark.skipif(available(CPU) is None, reason="this system does not tell its memory")


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What a process of its own says of pieces that take 512 MB in all."""
    here = Path(__file__).parents[1]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, str(here / "hungry_steps.py")], capture_output=True, text=True, check=True, env=around
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@linux
def test_a_piece_is_measured_by_its_parts(said: dict[str, str]) -> None:
    assert float(said["fits"].split(" GB")[0].removeprefix("up to ")) == pytest.approx(0.512, rel=0.1)


@linux
def test_too_much_is_refused_with_the_number_of_pieces_that_fit(said: dict[str, str]) -> None:
    assert re.search(r"E-MEMORY-FORECAST.*accumulate 3 times as high", said["too much"])
    assert "0.3 GB are free" in said["too much"]
    assert re.search(r"(?i)leave out the largest structure", said["one record"])


def test_an_exhausted_probe_is_a_refusal_and_other_errors_are_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 10**9)

    def exhausted(indices: Sequence[int]) -> None:
        if indices:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def broken(indices: Sequence[int]) -> None:
        if indices:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RunError, match="E-MEMORY-FORECAST"):
        refuse_too_large(exhausted, range(80), COST, CPU, state_bytes=0)
    with pytest.raises(RuntimeError, match="shapes"):
        refuse_too_large(broken, range(80), COST, CPU, state_bytes=0)


def test_a_run_is_refused_before_its_first_step_and_probing_leaves_no_trace(
    tmp_path: Path, records: list[Record], held_out: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(epochs=1, batch_size=8, largest_offset=10.0, accelerator="cpu")
    plain = train(learner(), records, held_out, config, tmp_path / "plain")
    monkeypatch.setattr(memory, "_PLENTY", 10**12)
    probed = train(learner(), records, held_out, config, tmp_path / "probed")
    assert probed.potential.fingerprint() == plain.potential.fingerprint()
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    with pytest.raises(RunError, match="E-MEMORY-FORECAST"):
        train(learner(), records, held_out, replace(config, seed=1), tmp_path / "refused")
    assert not (tmp_path / "refused" / "latest").exists()
