"""A driver in another process answers, fails, dies and dawdles without harm to its neighbours or to us."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from external.drivers import PAIR, UNRULY
from groundstate.atoms import GroundstateError, RunError, System
from groundstate.external import Worker


@pytest.fixture
def driver(tmp_path):
    def write(text: str):
        path = tmp_path / "driver.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def atoms(*numbers: int) -> System:
    return System.single([[1.5 * i, 0.0, 0.0] for i in range(len(numbers))], numbers)


def test_answers_come_in_order_and_a_refusal_keeps_its_code(driver):
    with Worker(driver(PAIR), {"depth": 2.0}) as worker:
        first, refused, last = worker.ask(System.batch([atoms(6, 8), atoms(99), atoms(6)]), ["energy", "forces"])
        assert worker.facts == {"program": "pair 1.0"}
    assert first["energy"] == pytest.approx(2.0 * (1 - 1.5 / 4) ** 3)
    assert first["forces"].shape == (2, 3)
    assert first["forces"].dtype == torch.float64
    assert isinstance(refused, GroundstateError)
    assert refused.code == "E-PAIR"
    assert last["energy"] == 0.0


def test_a_structure_that_kills_the_process_is_the_only_one_without_answer(driver):
    with Worker(driver(UNRULY), {}) as worker:
        answers = worker.ask(System.batch([atoms(6, 6), atoms(1), atoms(7)]), ["energy", "forces"])
    assert answers[0]["energy"] == 2.0
    assert answers[1].code == "E-EXTERNAL-DIED"
    assert "exit code 3" in str(answers[1])
    assert answers[2]["energy"] == 1.0


def test_what_takes_too_long_is_stopped(driver):
    with Worker(driver(UNRULY), {}, timeout_s=0.5) as worker:
        slow, quick = worker.ask(System.batch([atoms(2), atoms(6)]), ["energy", "forces"])
    assert slow.code == "E-EXTERNAL-TIMEOUT"
    assert quick["energy"] == 1.0


def test_a_wrong_shape_is_refused(driver):
    with Worker(driver(UNRULY), {}) as worker:
        (answer,) = worker.ask(atoms(3, 3), ["energy", "forces"])
    assert answer.code == "E-EXTERNAL-SHAPE"


def test_a_driver_that_does_not_start_says_why(driver):
    with pytest.raises(RunError, match="no licence") as refusal:
        Worker(driver(UNRULY), {"refuse": True}).ask(atoms(6), ["energy"])
    assert refusal.value.code == "E-EXTERNAL-START"


def test_an_interpreter_that_does_not_exist_is_named(driver):
    with pytest.raises(RunError, match="/nowhere/python"):
        Worker(driver(PAIR), {"depth": 1.0}, python="/nowhere/python").ask(atoms(6), ["energy"])


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a matter of POSIX")
def test_no_process_is_left_when_ours_is_killed(driver, tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from groundstate.external import Worker;"
        "from groundstate.atoms import System; w = Worker(Path(sys.argv[1]), {'depth': 1.0});"
        "w.ask(System.single([[0, 0, 0]], [6]), ['energy']); print(w._process.child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(driver(PAIR))], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the worker outlived the process that asked it")
