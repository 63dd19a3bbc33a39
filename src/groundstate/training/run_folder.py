"""The folder of a run: who may write it, what was started there, and a checkpoint that is whole or absent.

run.json              the resolved options and data this folder belongs to
checkpoint-….safetensors  tensors, with the rest of the state as JSON in its header; `latest` names the good one
metrics.jsonl         one line per evaluation
learning_curve.png    the same as curves, while the run goes; parity.png of a finished one
model.safetensors     the model of a finished run; result.json beside it
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from groundstate.atoms import RunError
from groundstate.data.files import write_whole
from groundstate.training.config import MAY_CHANGE_ON_RESUME

_KEPT = 2


class RunFolder:
    """Reads and writes one run's files; every write is temporary file, fsync, rename."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.model, self.metrics = self.path / "model.safetensors", self.path / "metrics.jsonl"

    def claim(self, identity: Mapping[str, Any], *, overwrite: bool) -> None:
        """Start a run here, or establish that the one here is the same; `overwrite` deletes it first."""
        written = self.path / "run.json"
        if overwrite:
            for file in self._files():
                file.unlink()
        if written.exists():
            self._refuse_other(json.loads(written.read_text(encoding="utf-8")), json.loads(json.dumps(identity)))
        elif self._files():
            raise RunError(
                "E-OUTPUT-EXISTS",
                "the folder holds a model but no record of the run that made it",
                file=str(self.path),
                fix="give another output folder, or overwrite=True to delete what is there",
            )
        self.write_json("run.json", identity)

    def _refuse_other(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        old, new = _flat(before), _flat(now)
        free = {f"config.{name}" for name in MAY_CHANGE_ON_RESUME}
        changed = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k) and k not in free)
        if changed:
            shown = "; ".join(f"{k}: {old.get(k, 'absent')} then, {new.get(k, 'absent')} now" for k in changed[:5])
            raise RunError(
                "E-RUN-MISMATCH",
                f"this folder belongs to a different run ({shown})",
                file=str(self.path),
                why="continuing it with other data or options would give a model that neither describes",
                fix="give another output folder, restore the options, or overwrite=True to start again",
            )

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        names = [
            "run.json",
            "latest",
            "result.json",
            "metrics.jsonl",
            "model.safetensors",
            "learning_curve.png",
            "parity.png",
        ]
        return [f for n in names if (f := self.path / n).exists()] + sorted(self.path.glob("checkpoint-*.safetensors"))

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
        """Write the state, then point `latest` at it, then drop older ones."""
        name = f"checkpoint-{step:09d}.safetensors"
        content = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        self.write(name, to_bytes(content, metadata={"state": json.dumps(document)}))
        self.write("latest", name.encode())
        for old in sorted(self.path.glob("checkpoint-*.safetensors"))[:-_KEPT]:
            old.unlink()

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The latest whole state, or `None` when nothing was saved yet."""
        pointer = self.path / "latest"
        if not pointer.exists():
            return None
        with safe_open(str(self.path / pointer.read_text().strip()), framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 — not a mapping
            document = json.loads(stored.metadata()["state"])
        return tensors, document

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Make the log agree with the state: lines of epochs that a kill made undone are dropped."""
        self.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history).encode())

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """One evaluation."""
        with self.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A document of this folder, or `None`."""
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """A document of this folder."""
        self.write(name, json.dumps(document, indent=1, sort_keys=True).encode())

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all, also when the disk is full or the process is killed."""
        write_whole(self.path / name, content)


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in document.items():
        found.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return found
