"""Killed −9 in the middle of labelling and called again: nothing lost, nothing twice."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from groundstate.quantum import Reference
from quantum.toy_engine import Springs, atom

SCRIPT = """
import sys
from groundstate.quantum import Reference
from quantum.toy_engine import Springs, atom

if __name__ == "__main__":
    with Reference(Springs(sys.argv[1], seconds=0.05), folder=sys.argv[2], processes=2) as reference:
        reference.compute([atom(0.1 * i) for i in range(1, 21)], lambda done, total, message: print(done, flush=True))
"""


def lines(folder: Path) -> list[str]:
    return [json.loads(line)["key"] for line in (folder / "labels.jsonl").read_text().splitlines()]


def killed(engine: Springs, folder: Path, at: int) -> None:
    found = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": found, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, engine.folder, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= at:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name != "posix", reason="kill −9 is POSIX")
def test_twenty_labels_survive_kill_9(tmp_path):
    (tmp_path / "engine").mkdir()
    engine, folder = Springs(str(tmp_path / "engine"), seconds=0.05), tmp_path / "labels"
    killed(engine, folder, at=6)
    first = lines(folder)
    assert 6 <= len(first) < 20
    killed(engine, folder, at=12)
    second = lines(folder)
    assert second[: len(first)] == first, "what was finished stays as it is"
    with (folder / "labels.jsonl").open("ab") as file:
        file.write(b'{"key": "cut sho')
    with Reference(engine, folder=folder) as reference:
        labels = reference.compute([atom(0.1 * i) for i in range(1, 21)])
    assert [float(one.values["energy"]) for one in labels] == [pytest.approx((0.1 * i) ** 2) for i in range(1, 21)]
    assert sum(one.known for one in labels) == len(second)
    whole = lines(folder)
    assert len(whole) == len(set(whole)) == 20
    # After each of the two kills at most four were begun again: two under way, two that waited to be written.
    assert 20 <= len(engine.computed()) <= 28
