"""An environment is whole or not there, tells how it is made, and obeys a user who forbids downloads."""

import json

import pytest

from groundstate.atoms import RunError
from groundstate.external import Environment
from groundstate.external.environment import MARKER


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSTATE_ENVIRONMENTS", str(tmp_path))
    return Environment("nothing", packages=(), imports="json")


def test_missing_says_what_to_do(nothing):
    assert not nothing.installed
    with pytest.raises(RunError, match="GROUNDSTATE_NOTHING_PYTHON") as refusal:
        _ = nothing.python
    assert refusal.value.code == "E-ENVIRONMENT-MISSING"


def test_offline_gives_the_lines_to_run_elsewhere(nothing, monkeypatch):
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(RunError, match="-m venv") as refusal:
        nothing.install()
    assert refusal.value.code == "E-OFFLINE"


def test_installs_once_and_records_versions(nothing):
    said: list[str] = []
    nothing.install(say=said.append)
    assert nothing.installed
    assert "pip" in nothing.record()["versions"]
    stamp = (nothing.folder / MARKER).stat().st_mtime_ns
    nothing.install(say=said.append)
    assert (nothing.folder / MARKER).stat().st_mtime_ns == stamp


def test_an_interrupted_installation_is_not_taken_for_whole(nothing):
    nothing.folder.mkdir(parents=True)
    (nothing.folder / MARKER).write_text('{"packages": [', encoding="utf-8")
    assert not nothing.installed
    (nothing.folder / MARKER).write_text(json.dumps({"packages": ["other"]}), encoding="utf-8")
    assert not nothing.installed


def test_a_failing_step_names_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSTATE_ENVIRONMENTS", str(tmp_path))
    broken = Environment("broken", packages=(), imports="a_module_nobody_has")
    with pytest.raises(RunError, match="a_module_nobody_has") as refusal:
        broken.install()
    assert refusal.value.code == "E-INSTALL"
    assert not broken.installed


def test_an_interpreter_of_the_users_own_is_taken(nothing, monkeypatch):
    monkeypatch.setenv("GROUNDSTATE_NOTHING_PYTHON", "/opt/mine/bin/python")
    assert nothing.installed
    assert nothing.python == "/opt/mine/bin/python"
