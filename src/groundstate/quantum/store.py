"""Labels on disk: one line each, appended and synced when it is finished, safe against kill −9 at any instant.

A label is found by the hash of what it depends on: structure, settings, version of the program, quantities. So a folder
may hold labels of many runs, nothing is computed twice, and a changed setting never meets an old number.
Checked: tests/quantum/test_labels_survive.py
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import GroundstateError, RunError, StructureError, System
from groundstate.data.files import LOCK, owned_folder

FILE = "labels.jsonl"


def label_key(single: System, origin: Mapping[str, Any], want: Sequence[str]) -> str:
    """Identity of one label: everything of the structure that electrons feel, what computes, and what is wanted."""
    digest = hashlib.sha256(json.dumps([origin, sorted(want)], sort_keys=True).encode())
    for name in ("numbers", "positions", "cell", "pbc", "charge", "multiplicity"):
        value = getattr(single, name)
        if value is not None:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Answered:
    """What is kept of one calculation: values, or the refusal in their place, and the seconds it took."""

    values: Mapping[str, Tensor]
    problem: GroundstateError | None
    seconds: float

    def as_line(self, key: str, origin: Mapping[str, Any]) -> str:
        """One line of JSON; floats are written so that they read back to the last bit."""
        problem = None if self.problem is None else self.problem.as_dict()
        values = {name: value.tolist() for name, value in self.values.items()}
        row = {"key": key, "seconds": self.seconds, "values": values, "problem": problem, "origin": origin}
        return json.dumps(row, allow_nan=False)

    @classmethod
    def from_line(cls, row: Mapping[str, Any]) -> "Answered":
        """Inverse of `as_line`."""
        told = row["problem"]
        problem = None
        if told is not None:
            problem = StructureError(told["code"], told["what"], why=told["why"], fix=told["fix"])
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in row["values"].items()}
        return cls(values, problem, row["seconds"])


class Store:
    """Labels by key: in memory, and on disk where a folder is given."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, Answered] = {}
        if path is not None and path.exists():
            self._recover(path)

    def get(self, key: str) -> Answered | None:
        """A finished label; a failure counts as finished."""
        return self._known.get(key)

    def commit(self, key: str, origin: Mapping[str, Any], answered: Answered) -> None:
        """Keep a label; it is on disk when this returns."""
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(answered.as_line(key, origin).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._known[key] = answered

    def _recover(self, path: Path) -> None:
        """Read what is whole; a line that a kill cut short is cut away."""
        length = 0
        for raw in path.read_bytes().splitlines(keepends=True):
            if not raw.endswith(b"\n"):
                break
            row = json.loads(raw)
            self._known[row["key"]] = Answered.from_line(row)
            length += len(raw)
        if length < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())


@contextmanager
def opened(folder: Path | None) -> Iterator[Store]:
    """The store of a folder, held by this process alone (E-RUN-LOCKED); in memory where there is none."""
    if folder is None:
        yield Store(None)
        return
    with owned_folder(folder):
        strangers = sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK)
        if strangers and not (folder / FILE).exists():
            raise RunError(
                "E-OUTPUT-EXISTS",
                f"{folder} holds other files ({', '.join(strangers[:3])}) and no labels",
                why="nothing existing is overwritten",
                fix="give a new or empty folder",
            )
        (folder / FILE).touch()
        yield Store(folder / FILE)
