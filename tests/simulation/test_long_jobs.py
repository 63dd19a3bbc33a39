"""A long job with bad structures in it, killed at random moments: nothing lost, nothing twice, all honest."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from groundstate.simulation import RelaxConfig, relax
from planted import faulty_potential, long_batch

CONFIG = RelaxConfig(force_tolerance=0.03, cell="full", max_steps=120, max_atoms_per_batch=64)
SCRIPT = """
import sys
from groundstate.simulation import relax
from planted import faulty_potential, long_batch
from groundstate.simulation import RelaxConfig
config = RelaxConfig(force_tolerance=0.03, cell="full", max_steps=120, max_atoms_per_batch=64)
relax(long_batch(int(sys.argv[1]))[0], faulty_potential(), config, output=sys.argv[2])
"""


def finished(folder: Path) -> list[int]:
    results = folder / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True) if results.exists() else []
    return [json.loads(line)["index"] for line in lines if line.endswith(b"\n")]


def killed(folder: Path, count: int, after: int) -> None:
    """Run the job in a process of its own and kill it once so many structures are finished."""
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(count), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    try:
        deadline = time.monotonic() + 500
        while len(finished(folder)) < after:
            assert process.poll() is None, "the job ended before it could be killed"
            assert time.monotonic() < deadline, "the job does not get on"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def check(folder: Path, count: int, seed: int) -> None:
    """Killed twice and continued, the folder holds what an uninterrupted run gives."""
    batch, ends = long_batch(count)
    # Refusals come first and together, so that moments after them are moments among relaxations.
    refused = sum(end[0] == "invalid" for end in ends.values())
    generator = random.Random(seed)
    for after in sorted(generator.sample(range(refused + 1, count - 8), 2)):
        killed(folder, count, after)
        assert len(set(finished(folder))) == len(finished(folder))
    results = relax(batch, faulty_potential(), CONFIG, output=folder)
    whole = relax(batch, faulty_potential(), CONFIG)
    assert sorted(finished(folder)) == list(range(count))
    for k, (result, other) in enumerate(zip(results, whole, strict=True)):
        assert (result.index, result.status, result.code) == (k, other.status, other.code), result.reason
        assert (result.status, result.code) == ends.get(k, ("converged", "")), (k, result.reason)
        assert bool(result.reason) == (not result.converged)
        if result.status == "max_steps" or result.energy is None:
            continue  # a kink makes the last bit a matter of luck; what was not computed has no number
        assert result.steps == other.steps
        assert result.energy == pytest.approx(other.energy, abs=1e-9)
        torch.testing.assert_close(result.system.positions, other.system.positions, rtol=0, atol=1e-8)
    with_frame = sum(result.forces is not None for result in results)
    texts = [(folder / name).read_text() for name in ("converged.extxyz", "not_converged.extxyz")]
    assert sum(text.count("Properties=") for text in texts) == with_frame
    assert texts[0].count("Properties=") == sum(result.converged for result in results)


def test_sixty_structures_killed_twice(tmp_path):
    check(tmp_path / "run", 60, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_five_hundred_structures_killed_twice(tmp_path, seed):
    check(tmp_path / "run", 500, seed)


def test_every_planted_fault_is_in_the_small_job():
    assert set(long_batch(60)[1].values()) == {
        ("invalid", "E-POSITION-NOT-FINITE"),
        ("invalid", "E-ATOMS-CLOSE"),
        ("invalid", "E-ELEMENT-UNKNOWN"),
        ("invalid", "E-CELL-MISSING"),
        ("converged", ""),
        ("max_steps", "E-RELAX-STEPS"),
        ("diverged", "E-RESULT-NOT-FINITE"),
        ("diverged", "E-RELAX-DIVERGED"),
    }
