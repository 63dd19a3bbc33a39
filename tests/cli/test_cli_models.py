"""Public models on the command line: filtered, installed, shown, removed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from groundstate.cli import main
from groundstate.zoo.catalogue import Card
from toy_family import WEIGHTS, offer, record

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def test_filters(said: Said) -> None:
    code, out, _ = said("models", "--licence", "commercial", "--elements", "Mg,O", "--json")
    names = {row["name"] for row in json.loads(out)}
    assert code == 0
    assert {"chgnet", "7net-0"} <= names
    assert not names & {"mace-omat-0", "aimnet2"}
    code, out, err = said("models", "--elements", "Mg", "--charge")
    assert code == 0
    assert "no model meets all of this" in err
    code, _, err = said("models", "--licence", "free")
    assert code == 2
    assert "E-OPTION-UNKNOWN" in err
    code, _, err = said("models", "--elements", "Xq")
    assert code == 3


def test_one_model_in_full(said: Said) -> None:
    code, out, _ = said("models", "chgnet", "--json")
    (facts,) = json.loads(out)
    assert code == 0
    assert facts["laws"]["float32"].startswith("keeps")
    assert facts["recorded_as"]["float32"].startswith("chgnet@")
    assert facts["dispersion"] == "none"


def test_install_show_and_remove(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, tmp_path, Card.from_dict(record()))
    brought = tmp_path / "brought"
    brought.write_bytes(WEIGHTS)
    code, _, err = said("models", "install", "spring", "--python", sys.executable)
    assert code == 5
    assert "E-WEIGHTS-MISSING" in err
    code, out, _ = said("models", "install", "spring", "--offline-file", brought, "--json")
    assert code == 0
    assert json.loads(out)["state"] == "ready"
    code, out, _ = said("models", "spring", "--json")
    assert json.loads(out)[0]["state"] == "ready"
    code, out, _ = said("models", "remove", "spring", "--json")
    assert code == 0
    assert len(json.loads(out)["removed"]) == 2
    code, _, err = said("models", "install", "sprung")
    assert code == 5
    assert "spring" in err
