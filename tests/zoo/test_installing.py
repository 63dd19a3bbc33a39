"""Environments and weights come, are listed and go; nothing is half there."""

import sys
from pathlib import Path

import pytest

from groundstate.atoms import ModelError, OptionError, RunError
from groundstate.zoo import installing
from groundstate.zoo.catalogue import Card
from groundstate.zoo.families import Family
from toy_family import WEIGHTS, offer, record


@pytest.fixture
def card() -> Card:
    return Card.from_dict(record())


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: Card) -> Family:
    return offer(monkeypatch, tmp_path, card)


def test_state_follows_what_is_on_disk(tmp_path: Path, family: Family, card: Card) -> None:
    assert installing.state(card).word == "not installed"
    brought = tmp_path / "brought"
    brought.write_bytes(WEIGHTS)
    said: list[str] = []
    with pytest.raises(ModelError, match="no public address") as refusal:
        installing.install("spring", python=sys.executable, say=said.append)
    assert refusal.value.code == "E-WEIGHTS-MISSING"
    assert family.environment.python == sys.executable
    assert "Springs runs under" in said[0]
    assert installing.state(card).word == "weights missing"
    assert "spring.txt" in installing.state(card).fix
    assert installing.install("spring", offline_file=brought).ready
    assert installing.state(card).ready
    installing.remove("spring", say=said.append)
    assert said[-2:] == ["removed the weights of " + card.id, "removed the environment of Springs"]
    assert installing.state(card).word == "not installed"


def test_an_interpreter_without_the_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: Card
) -> None:
    offer(monkeypatch, tmp_path, card)
    lacking = Family("toy", "Springs", (), (), "a_module_nobody_has", False, "nothing")
    monkeypatch.setattr(installing, "family", lambda name: lacking)
    with pytest.raises(RunError, match="a_module_nobody_has") as refusal:
        installing.install("spring", python=sys.executable)
    assert refusal.value.code == "E-EXTERNAL-PYTHON"
    assert installing.state(card).word == "not installed"


def test_an_interpreter_that_is_gone_is_a_state_and_no_crash(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Card.from_dict(record(weights={"source": "package", "files": [{"name": "spring.txt"}]}))
    monkeypatch.setenv("GROUNDSTATE_TOY_PYTHON", "/nowhere/python")
    assert installing.state(shipped).word == "not installed"
    assert "/nowhere/python" in installing.state(shipped).fix


def test_offline_says_how_to_make_the_environment_elsewhere(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(RunError, match="-m venv") as refusal:
        installing.install("toy")
    assert refusal.value.code == "E-OFFLINE"


def test_a_family_takes_no_weights(family: Family, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="E-OPTION-CONFLICT"):
        installing.install("toy", offline_file=tmp_path / "x")


def test_an_unknown_name_is_answered_with_the_nearest(family: Family) -> None:
    with pytest.raises(ModelError, match="spring") as refusal:
        installing.install("sprung")
    assert refusal.value.code == "E-MODEL-UNKNOWN"
