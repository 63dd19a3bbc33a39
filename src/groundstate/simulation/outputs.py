"""The folder of a run: who runs there, what was asked, and what has been finished, safe against kill −9 at any instant.

`run.json` fixes what the folder holds; `lock` keeps a second process out; frames are appended to `.extxyz` files and
become part of the run when the line of `results.jsonl` that names them is on disk. A line or frame cut short is dropped
on opening.
Checked: tests/simulation/test_run_folder.py, test_simulation_resume.py
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from jaxtyping import Bool
from torch import Tensor

from groundstate.atoms import RunError, System
from groundstate.data.files import LOCK, owned_folder, write_whole


def content_hash(single: System, fixed: Bool[Tensor, " atom"]) -> str:
    """Identity of one input: every field of the structure and the atoms held fixed."""
    digest = hashlib.sha256()
    given = [(f.name, getattr(single, f.name)) for f in fields(single)]
    for name, value in [*given, ("fixed", fixed)]:
        if value is not None:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def input_keys(system: System, fixed: Bool[Tensor, " atom"]) -> list[str]:
    """One key per structure; equal structures are told apart by how many came before."""
    seen: dict[str, int] = {}
    keys = []
    for single, held in zip(system, fixed.split(system.atoms_per_system.tolist()), strict=True):
        key = content_hash(single, held)
        seen[key] = seen.get(key, 0) + 1
        keys.append(f"{key}-{seen[key]}")
    return keys


def identity(kind: str, fingerprint: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What produced a result, recorded with each; all but the package's version must be equal to continue a run."""
    # Through JSON once, so that tuples and lists compare equal with what is read back.
    return json.loads(
        json.dumps({"kind": kind, "potential": fingerprint, "config": dict(config), "version": version("groundstate")})
    )


@contextmanager
def run_folder(path: Path, asked: Mapping[str, Any]) -> Iterator["RunFolder"]:
    """Open or continue a run; refuses another run's folder (E-RUN-MISMATCH) and one in use (E-RUN-LOCKED)."""
    with owned_folder(path):
        _agree(path, asked)
        yield RunFolder(path)


def _agree(path: Path, asked: Mapping[str, Any]) -> None:
    record = path / "run.json"
    if not record.exists():
        strangers = sorted(entry.name for entry in path.iterdir() if entry.name != LOCK)
        if strangers:
            raise RunError(
                "E-OUTPUT-EXISTS",
                f"{path} holds other files ({', '.join(strangers[:3])}) and no run",
                why="nothing existing is overwritten",
                fix="give a new or empty folder",
            )
        write_whole(record, json.dumps(asked, indent=1).encode())
        return
    there = json.loads(record.read_text(encoding="utf-8"))
    differing = _differences({**there, "version": ""}, {**asked, "version": ""})
    if differing:
        raise RunError(
            "E-RUN-MISMATCH",
            f"{path} holds a run with other settings: " + "; ".join(differing),
            why="results of different settings would be mixed",
            fix="give another folder, or repeat the command that made this one",
        )


def _differences(there: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted(there.keys() | asked.keys()):
        old, new = there.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} was {old!r}, now {new!r}")
    return found


class RunFolder:
    """A locked folder. `append` adds a frame, `commit` a line that makes it count; `lines` are the committed ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results = path / "results.jsonl"
        self.lines = self._recover()

    def append(self, name: str, text: str) -> dict[str, Any]:
        """Append a frame to a file, on disk when this returns; where it stands is part of the line to commit."""
        path = self.path / name
        with path.open("ab") as file:
            start = file.tell()
            content = text.encode()
            file.write(content)
            _sync(file)
        return {"file": name, "start": start, "length": len(content)}

    def commit(self, line: Mapping[str, Any]) -> None:
        """One finished result."""
        with self.results.open("ab") as file:
            file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            _sync(file)
        self.lines.append(dict(line))

    def frame(self, place: Mapping[str, Any]) -> str:
        """The text of a committed frame."""
        with (self.path / place["file"]).open("rb") as file:
            file.seek(place["start"])
            return file.read(place["length"]).decode()

    def truncate(self, name: str, length: int) -> None:
        """Forget what was written after the last checkpoint."""
        path = self.path / name
        if path.exists() and path.stat().st_size > length:
            with path.open("r+b") as file:
                file.truncate(length)
                _sync(file)

    def size(self, name: str) -> int:
        """Bytes of a file, 0 where there is none."""
        path = self.path / name
        return path.stat().st_size if path.exists() else 0

    def _recover(self) -> list[dict[str, Any]]:
        whole: list[dict[str, Any]] = []
        length = 0
        if self.results.exists():
            for raw in self.results.read_bytes().splitlines(keepends=True):
                if not raw.endswith(b"\n"):
                    break
                whole.append(json.loads(raw))
                length += len(raw)
            self.truncate("results.jsonl", length)
        ends: dict[str, int] = {path.name: 0 for path in self.path.glob("*converged.extxyz")}
        for line in whole:
            if place := line.get("frame"):
                ends[place["file"]] = place["start"] + place["length"]
        for name, end in ends.items():
            self.truncate(name, end)
        return whole


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
