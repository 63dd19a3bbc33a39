"""Public models on the command line: filtered, installed, shown, removed."""

import json
import sys
from pathlib import Path

import pytest

from command_line import Run
from groundstate.zoo.catalogue import Card
from toy_family import WEIGHTS, offer, record


def test_filters(run: Run) -> None:
    code, out, _ = run("models", "--licence", "commercial", "--elements", "Mg,O", "--json")
    names = {row["name"] for row in json.loads(out)}
    assert code == 0
    assert {"chgnet", "7net-0"} <= names
    assert not names & {"mace-omat-0", "aimnet2"}
    code, out, err = run("models", "--elements", "Mg", "--charge")
    assert code == 0
    assert "no model meets all of this" in err
    code, _, err = run("models", "--licence", "free")
    assert code == 2
    assert "E-OPTION-UNKNOWN" in err
    code, _, err = run("models", "--elements", "Xq")
    assert code == 3


def test_one_model_in_full(run: Run) -> None:
    code, out, _ = run("models", "chgnet", "--json")
    (facts,) = json.loads(out)
    assert code == 0
    assert facts["laws"]["float32"].startswith("keeps")
    assert facts["recorded_as"]["float32"].startswith("chgnet@")
    assert facts["dispersion"] == "none"


def test_install_show_and_remove(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, tmp_path, Card.from_dict(record()))
    brought = tmp_path / "brought"
    brought.write_bytes(WEIGHTS)
    code, _, err = run("models", "install", "spring", "--python", sys.executable)
    assert code == 5
    assert "E-WEIGHTS-MISSING" in err
    code, out, _ = run("models", "install", "spring", "--offline-file", brought, "--json")
    assert code == 0
    assert json.loads(out)["state"] == "ready"
    code, out, _ = run("models", "spring", "--json")
    assert json.loads(out)[0]["state"] == "ready"
    code, out, _ = run("models", "remove", "spring", "--json")
    assert code == 0
    assert len(json.loads(out)["removed"]) == 2
    code, _, err = run("models", "install", "sprung")
    assert code == 5
    assert "spring" in err
