"""Interrupted anywhere and called again, a run ends as if nothing had happened: nothing lost, nothing doubled."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes

from groundstate.atoms import RunError, System
from groundstate.simulation import MDConfig, Progress, RelaxConfig, progress_bar, relax, run_md

RELAX = RelaxConfig(force_tolerance=0.05, cell="full", max_atoms_per_batch=8)


class Interrupted(Exception):  # noqa: N818
    """Stands for whatever ends a process."""


def interrupt_after(count: int):
    calls = iter(range(count))

    def progress(report: Progress) -> None:
        if next(calls, None) is None:
            raise Interrupted

    return progress


def assert_same(results, expected) -> None:
    for result, other in zip(results, expected, strict=True):
        assert (result.status, result.code, result.steps) == (other.status, other.code, other.steps)
        assert result.energy == pytest.approx(other.energy, abs=1e-9)
        torch.testing.assert_close(result.system.positions, other.system.positions, rtol=0, atol=1e-8, equal_nan=True)
        torch.testing.assert_close(result.system.cell, other.system.cell, rtol=0, atol=1e-8)


def committed(folder: Path) -> list[int]:
    return sorted(json.loads(line)["index"] for line in (folder / "results.jsonl").read_text().splitlines())


@pytest.fixture
def batch(crystal) -> System:
    nan = crystal(9).replace(positions=torch.full((4, 3), torch.nan, dtype=torch.float64))
    return System.batch([crystal(1), crystal(2), nan, crystal(3), crystal(1), crystal(4)])


def test_relaxation_continues_after_an_exception(potential, batch, tmp_path):
    expected = relax(batch, potential, RELAX)
    folder = tmp_path / "run"
    finished = []
    for calls in (7, 6):
        with pytest.raises(Interrupted):
            relax(batch, potential, RELAX, output=folder, progress=interrupt_after(calls))
        finished.append(len(committed(folder)))
    assert 0 < finished[0] <= finished[1] < 6
    results = relax(batch, potential, RELAX, output=folder)
    assert_same(results, expected)
    assert committed(folder) == list(range(6))
    assert (folder / "converged.extxyz").read_text().count("Lattice=") == 5


def test_a_finished_relaxation_is_read_back_to_the_last_bit(potential, batch, tmp_path):
    first = relax(batch, potential, RELAX, output=tmp_path / "run")
    size = (tmp_path / "run" / "results.jsonl").stat().st_size
    calls = []
    again = relax(batch, potential, RELAX, output=str(tmp_path / "run"), progress=calls.append)
    assert len(calls) == 1
    assert (tmp_path / "run" / "results.jsonl").stat().st_size == size
    for result, other in zip(again, first, strict=True):
        assert (result.status, result.reason, result.notes, result.steps) == (
            other.status,
            other.reason,
            other.notes,
            other.steps,
        )
        assert result.energy == other.energy
        assert result.max_cell_force == other.max_cell_force
        if other.forces is not None:
            assert torch.equal(result.system.positions, other.system.positions)
            assert torch.equal(result.system.cell, other.system.cell)
            assert torch.equal(result.forces, other.forces)
            assert torch.equal(result.stress, other.stress)


def test_a_folder_takes_more_structures_but_no_other_settings(potential, batch, crystal, tmp_path):
    relax(batch, potential, RELAX, output=tmp_path)
    more = System.batch([crystal(7), *batch])
    results = relax(more, potential, RELAX, output=tmp_path)
    assert results[0].converged
    assert len(committed(tmp_path)) == 7
    with pytest.raises(RunError, match=r"E-RUN-MISMATCH.*force_tolerance"):
        relax(batch, potential, RelaxConfig(force_tolerance=0.02, cell="full"), output=tmp_path)


SCRIPT = """
import sys
from toys import fcc, lennard_jones
import torch
from groundstate.atoms import System
from groundstate.simulation import *

def crystal(seed):
    system, generator = fcc(lattice_constant=3.6), torch.Generator().manual_seed(seed)
    noise = torch.randn(system.positions.shape, generator=generator, dtype=torch.float64)
    return system.replace(positions=system.positions + 0.08 * noise)

def say(report):
    print(report.done, flush=True)

if sys.argv[1] == "relax":
    config = RelaxConfig(force_tolerance=0.05, cell="full", max_atoms_per_batch=8)
    system = System.batch([crystal(seed) for seed in range(16)])
    relax(system, lennard_jones(cutoff=4.5), config, output=sys.argv[2], progress=say)
else:
    config = MDConfig(steps=4000, timestep_fs=2.0, temperature_K=300.0, ensemble="langevin", seed=5, record_every=5,
                      trajectory_every=20, checkpoint_every=25)
    run_md(System.batch([crystal(1), crystal(2)]), lennard_jones(cutoff=4.5), config, output=sys.argv[2], progress=say)
"""


def kill_when(kind: str, folder: Path, done: int) -> None:
    """Run the script in a process and kill it −9 once it reports `done`."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, kind, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= done:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL


def test_relaxation_survives_kill_9(potential, crystal, tmp_path):
    kill_when("relax", tmp_path / "run", done=3)
    before = committed(tmp_path / "run")
    assert 3 <= len(before) < 16
    system = System.batch([crystal(seed) for seed in range(16)])
    fast = RelaxConfig(force_tolerance=0.05, cell="full", max_atoms_per_batch=None)
    results = relax(system, potential, fast, output=tmp_path / "run")
    assert all(result.converged for result in results)
    assert committed(tmp_path / "run") == list(range(16))
    assert_same(results[:4], relax(system.select(range(4)), potential, fast))


def test_dynamics_survives_kill_9_to_the_last_bit(potential, crystal, tmp_path):
    kill_when("md", tmp_path / "run", done=60)
    options = {"timestep_fs": 2.0, "temperature_K": 300.0, "ensemble": "langevin", "seed": 5}
    often = {"record_every": 5, "trajectory_every": 20}
    system = System.batch([crystal(1), crystal(2)])
    killed = tmp_path / "run"
    reached = max(json.loads(line)["step"] for line in (killed / "samples_00000.jsonl").read_text().splitlines())
    steps = (int(reached) // 25 + 2) * 25
    config = MDConfig(steps=steps, checkpoint_every=25, **options, **often)
    resumed = run_md(system, potential, config, output=killed)
    whole = run_md(system, potential, config, output=tmp_path / "whole")
    for one, other in zip(resumed, whole, strict=True):
        assert torch.equal(one.system.positions, other.system.positions)
        assert torch.equal(one.velocities, other.velocities)
        assert torch.equal(one.samples["total"], other.samples["total"])
    for name in ("samples_00001.jsonl", "trajectory_00001.extxyz"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_dynamics_continues_after_an_exception_to_the_last_bit(potential, crystal, faulty, tmp_path, ensemble):
    system = System.batch([crystal(1), crystal(2, repeats=2)])
    config = MDConfig(
        steps=60,
        timestep_fs=2.0,
        temperature_K=300.0,
        ensemble=ensemble,
        record_every=3,
        trajectory_every=7,
        checkpoint_every=10,
    )
    whole = run_md(system, potential, config, output=tmp_path / "whole")
    for calls in (0, 17, 18, 25):
        with pytest.raises(Interrupted):
            run_md(system, potential, config, output=tmp_path / "run", progress=interrupt_after(calls))
    resumed = run_md(system, potential, config, output=tmp_path / "run")
    for k, (one, other) in enumerate(zip(resumed, whole, strict=True)):
        assert torch.equal(one.system.positions, other.system.positions)
        assert one.drift_meV_per_atom_ps == other.drift_meV_per_atom_ps
        for name in (f"samples_{k:05d}.jsonl", f"trajectory_{k:05d}.extxyz"):
            assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_stopped_structure_stays_stopped_and_a_run_can_be_prolonged(faulty, crystal, tmp_path):
    closing = crystal(3, lattice_constant=4.4).replace(numbers=torch.full((4,), 26))
    system = System.batch([crystal(1), closing])
    short = MDConfig(steps=40, timestep_fs=2.0, temperature_K=300.0, record_every=5, checkpoint_every=10)
    longer = MDConfig(steps=60, timestep_fs=2.0, temperature_K=300.0, record_every=5, checkpoint_every=10)
    first = run_md(system, faulty, short, output=tmp_path)
    assert [r.status for r in first] == ["completed", "stopped"]
    assert [r.steps for r in run_md(system, faulty, short, output=tmp_path)] == [40, first[1].steps]
    prolonged = run_md(system, faulty, longer, output=tmp_path)
    direct = run_md(system, faulty, longer)
    assert [r.steps for r in prolonged] == [60, first[1].steps]
    assert prolonged[1].reason == first[1].reason
    assert torch.equal(prolonged[0].system.positions, direct[0].system.positions)
    with pytest.raises(RunError, match="E-RUN-MISMATCH"):
        run_md(system, faulty, short, output=tmp_path)
    with pytest.raises(RunError, match=r"E-RUN-MISMATCH.*inputs"):
        run_md(system[0], faulty, longer, output=tmp_path)


def test_a_checkpoint_of_other_rules_is_refused(potential, crystal, tmp_path):
    config = MDConfig(steps=4, timestep_fs=2.0, temperature_K=300.0, checkpoint_every=2)
    run_md(System.batch([crystal(1)]), potential, config, output=tmp_path)
    file = tmp_path / "checkpoint.safetensors"
    with safe_open(file, framework="pt") as stored:
        facts = stored.metadata()
        older = {name: stored.get_tensor(name) for name in stored.keys() if not name.startswith("strains")}  # noqa: SIM118
    file.write_bytes(to_bytes(older, metadata=facts))
    with pytest.raises(RunError, match=r"E-RUN-MISMATCH.*lacks strains"):
        run_md(System.batch([crystal(1)]), potential, replace(config, steps=8), output=tmp_path)


def test_the_bar_follows_a_run(potential, batch, capsys):
    with progress_bar("relaxing") as progress:
        relax(batch, potential, RelaxConfig(force_tolerance=0.1), progress=progress)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "6/6" in shown.err
