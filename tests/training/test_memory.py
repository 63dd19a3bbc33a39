"""What a run will take is told, and refused, before it begins."""

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
KILOBYTES_PER_COST = 0.64
FREE = available(CPU)
linux = pytest.mark.skipif(FREE is None, reason="this system does not tell its memory")


def hungry(indices: Sequence[int]) -> None:
    """Takes what it should for its cost, and touches it."""
    np.ones(int(KILOBYTES_PER_COST * 1e3 / 8 * COST[list(indices)].sum() / 100))


@linux
def test_a_piece_is_measured_by_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 10**9)
    told = refuse_too_large(hungry, range(80), COST, CPU, state_bytes=10**6)
    assert float(told.split(" GB")[0].removeprefix("up to ")) == pytest.approx(0.512, rel=0.1)


@linux
def test_too_much_is_refused_with_the_number_of_pieces_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 3 * 10**8)
    with pytest.raises(RunError, match=r"E-MEMORY-FORECAST.*accumulate 3 times as high") as caught:
        refuse_too_large(hungry, range(80), COST, CPU, state_bytes=0)
    assert "0.3 GB are free" in str(caught.value)
    with pytest.raises(RunError, match=r"(?i)leave out the largest structure"):
        refuse_too_large(lambda _: hungry(range(80)), [3], COST, CPU, state_bytes=0)


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
