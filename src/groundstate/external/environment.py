"""An environment of its own for a program whose requirements would clash with ours or with another's."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundstate.atoms import RunError
from groundstate.atoms.places import offline, user_folder
from groundstate.data.files import owned_folder, write_whole

Say = Callable[[str], None]
MARKER = "environment.json"
"""Written last: an environment without it is not whole and is made anew."""


def environments_folder() -> Path:
    """Where environments are made: `GROUNDSTATE_ENVIRONMENTS`, or `environments` in the user's cache folder."""
    named = os.environ.get("GROUNDSTATE_ENVIRONMENTS", "").strip()
    folder = Path(named).expanduser().absolute() if named else user_folder("environments")
    if folder is None:
        raise RunError(
            "E-NO-HOME", "this user has no folder for environments", fix="set GROUNDSTATE_ENVIRONMENTS to a folder"
        )
    return folder


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds one program.

    name       names its folder, and the variable `GROUNDSTATE_<NAME>_PYTHON` by which a user gives an interpreter of
               their own instead
    packages   pip requirements · first: requirements installed before them, e.g. a build of torch for this machine
    variables  set while pip runs, e.g. for a package that compiles
    imports    module that must import at the end
    Checked: tests/external/test_environment.py
    """

    name: str
    packages: tuple[str, ...]
    first: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    imports: str = ""

    @property
    def folder(self) -> Path:
        """Where it is made."""
        return environments_folder() / self.name

    @property
    def variable(self) -> str:
        """Name of the variable that overrides its interpreter."""
        return f"GROUNDSTATE_{self.name.upper().replace('-', '_')}_PYTHON"

    @property
    def installed(self) -> bool:
        """Whether an interpreter of the user's is named, or the environment is whole and of these requirements."""
        return bool(os.environ.get(self.variable)) or self.record().get("packages") == [*self.first, *self.packages]

    @property
    def python(self) -> str:
        """Its interpreter. Raises RunError E-ENVIRONMENT-MISSING where there is none."""
        if named := os.environ.get(self.variable, "").strip():
            return named
        if not self.installed:
            raise RunError(
                "E-ENVIRONMENT-MISSING",
                f"{self.name} is not installed",
                why="it runs in an environment of its own, so that its requirements clash with nothing",
                fix=f"run `groundstate models install {self.name}`, or name an interpreter in {self.variable}",
            )
        return str(self.record()["python"])

    def record(self) -> dict[str, Any]:
        """What was installed: `packages` as asked, `versions` as found, `python`; empty where nothing whole is."""
        try:
            return dict(json.loads((self.folder / MARKER).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def lines(self, index: str | None = None) -> list[str]:
        """The commands that make it, for people who would rather do it themselves."""
        python = str(_interpreter(self.folder))
        steps = [[sys.executable, "-m", "venv", str(self.folder / "venv")], *self._pip(python, index)]
        prefix = "".join(f"{name}={shlex.quote(value)} " for name, value in self.variables.items())
        return [prefix + shlex.join(step) if step[0] == python else shlex.join(step) for step in steps]

    def install(self, *, say: Say = lambda line: None, python: str | None = None, index: str | None = None) -> None:
        """Make it, or make it whole; nothing happens where it is. Output of pip goes to `install.log` in its folder.

        python   interpreter it is made with; that of this process by default
        index    further package index, e.g. PyTorch's own for a build of torch
        Raises RunError E-OFFLINE when downloads are forbidden, E-INSTALL with the last words of pip.
        """
        if self.installed:
            say(f"{self.name} is installed")
            return
        if offline():
            raise RunError(
                "E-OFFLINE",
                f"{self.name} is not installed and downloads are forbidden (OFFLINE)",
                fix="on a machine with a network run: " + " && ".join(self.lines(index)),
            )
        with owned_folder(self.folder) as folder:
            log = folder / "install.log"
            target = str(_interpreter(folder))
            _run([python or sys.executable, "-m", "venv", "--clear", str(folder / "venv")], {}, log, self.name)
            for words in self._pip(target, index):
                say(shlex.join(words[3:]))
                _run(words, self.variables, log, self.name)
            if self.imports:
                _run([target, "-c", f"import {self.imports}"], {}, log, self.name)
            listed = _run([target, "-m", "pip", "list", "--format", "json"], {}, log, self.name)
            versions = {row["name"]: row["version"] for row in json.loads(listed)}
            record = {"packages": [*self.first, *self.packages], "versions": versions, "python": target}
            write_whole(folder / MARKER, json.dumps(record, indent=1).encode())
        say(f"{self.name} is installed in {self.folder}")

    def adopt(self, python: str) -> None:
        """Remember an interpreter of the user's own as this environment; nothing is installed.

        Raises RunError E-EXTERNAL-PYTHON where it does not start or lacks the module that must import.
        """
        words = [python, "-c", f"import {self.imports or 'sys'}"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False, env=_around({}))
            failed = done.stderr.strip().splitlines()[-1:] if done.returncode else None
        except OSError as error:
            failed = [str(error.strerror)]
        if failed is not None:
            raise RunError(
                "E-EXTERNAL-PYTHON",
                f"'{python}' cannot run {self.name} ({''.join(failed) or 'no word why'})",
                fix=f"give the interpreter of an environment that has {' '.join(self.packages) or self.imports}",
            )
        record = {"packages": [*self.first, *self.packages], "versions": {}, "python": python}
        with owned_folder(self.folder) as folder:
            write_whole(folder / MARKER, json.dumps(record, indent=1).encode())

    def remove(self) -> bool:
        """Delete it; False where there was none. An interpreter of the user's own is forgotten, not deleted."""
        if not self.folder.is_dir():
            return False
        with owned_folder(self.folder) as folder:
            (folder / MARKER).unlink(missing_ok=True)  # first, so that a half-deleted one is not taken for whole
            shutil.rmtree(folder)
        return True

    def _pip(self, python: str, index: str | None) -> list[list[str]]:
        start = [python, "-m", "pip", "install", "--disable-pip-version-check"]
        start += ["--extra-index-url", index] if index else []
        return [[*start, *names] for names in (self.first, self.packages) if names]


def _interpreter(folder: Path) -> Path:
    return folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _around(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of this process, without those that would lead another interpreter to our packages."""
    ours = ("PYTHONPATH", "PYTHONHOME", "PIP_CONSTRAINT")
    return {**{name: value for name, value in os.environ.items() if name not in ours}, **variables}


def _run(words: list[str], variables: Mapping[str, str], log: Path, name: str) -> str:
    """Run one step; its output goes to the log. Returns what it wrote to standard output."""
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False, env=_around(variables))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(words)}\n{done.stdout}{done.stderr}\n")
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise RunError(
            "E-INSTALL",
            f"{name} could not be installed: {lines[-1].strip()[:300] if lines else 'no word why'}",
            file=str(log),
            fix="read the log; the same command goes on",
        )
    return done.stdout
