"""Interrupted anywhere, the search for paths goes on from its checkpoint and ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from analytic_surfaces import vacancy_hop
from groundstate.atoms import RunError, System
from groundstate.simulation.paths import NEBConfig, neb
from toys import lennard_jones

CONFIG = {"images": 3, "force_tolerance": 5e-3, "relax_ends": True, "verify": True, "checkpoint_every": 2}

SCRIPT = """
import sys
from analytic_surfaces import vacancy_hop
from toys import lennard_jones
from groundstate.atoms import System
from groundstate.simulation.paths import NEBConfig, neb

first = vacancy_hop()
second = vacancy_hop(3.6)
def say(report):
    print(report.unit, report.message.count("band force"), flush=True)
neb(System.batch([first[0], second[0]]), System.batch([first[1], second[1]]), lennard_jones(cutoff=4.5),
    NEBConfig(images=3, force_tolerance=5e-3, relax_ends=True, verify=True, checkpoint_every=2), output=sys.argv[1],
    progress=say)
"""


def pairs() -> tuple[System, System]:
    first, second = vacancy_hop(), vacancy_hop(3.6)
    return System.batch([first[0], second[0]]), System.batch([first[1], second[1]])


def test_paths_survive_kill_9(tmp_path):
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run")]
    bands = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            bands += line.strip() == "paths 1"
            if bands >= 7:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    potential, config = lennard_jones(cutoff=4.5), NEBConfig(**CONFIG)
    reports = []
    resumed = neb(*pairs(), potential, config, output=tmp_path / "run", progress=reports.append)
    whole = neb(*pairs(), potential, config)
    for one, other in zip(resumed, whole, strict=True):
        assert one.converged
        assert (one.steps, one.modes.negative) == (other.steps, 1)
        assert one.barrier_forward == pytest.approx(other.barrier_forward, abs=1e-9)
        torch.testing.assert_close(one.images.positions, other.images.positions, rtol=0, atol=1e-7)
    steps_done = sum(report.unit == "paths" and "band force" in report.message for report in reports)
    assert steps_done < max(result.steps for result in whole)

    again = neb(*pairs(), potential, config, output=tmp_path / "run")
    lines = (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == [0, 1]
    for one, other in zip(again, resumed, strict=True):
        assert torch.equal(one.images.positions, other.images.positions)
        assert torch.equal(one.profile.slope, other.profile.slope)
        assert one.barrier_forward == other.barrier_forward
        assert torch.equal(one.modes.curvature, other.modes.curvature)
    with pytest.raises(RunError, match=r"E-RUN-MISMATCH.*images"):
        neb(*pairs(), potential, NEBConfig(**{**CONFIG, "images": 4}), output=tmp_path / "run")
