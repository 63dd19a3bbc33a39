"""What a checkpoint of mace-torch holds, read in another process so that its pickle never runs in ours."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms import GroundstateError, ModelError, OptionError, RunError
from groundstate.zoo.mace import extract

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Extraction:
    """Arrays of the state by name, modules by path (their class and plain attributes), versions that wrote them."""

    arrays: Mapping[str, np.ndarray]
    modules: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> "Extraction":
        """From the file `extract.py` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            document = json.loads(str(stored["document"]))
            arrays = {name: stored[name] for name in stored.files if name != "document"}
        return cls(arrays, document["modules"], document["versions"])

    def array(self, name: str) -> np.ndarray:
        """An array of the state."""
        if name not in self.arrays:
            raise _unsaid(f"has no '{name}'")
        return self.arrays[name]

    def floats(self, name: str) -> Floats:
        """An array of the state in float64."""
        return np.asarray(self.array(name), dtype=np.float64)

    def number(self, name: str) -> float:
        """An array of one entry."""
        return float(self.array(name).reshape(()))

    def attribute(self, path: str, name: str) -> Any:
        """What a module says of itself, as an attribute or in its state."""
        if f"{path}.{name}" in self.arrays:
            return self.number(f"{path}.{name}")
        if name not in self.modules.get(path, {}):
            raise _unsaid(f"does not say '{name}' of {path}")
        return self.modules[path][name]

    def weight(self, path: str, *shapes: tuple[int, ...]) -> list[Floats]:
        """The flat weight of an e3nn layer, cut into its instructions."""
        flat, cuts = self.floats(f"{path}.weight"), np.cumsum([int(np.prod(shape)) for shape in shapes])
        if flat.size != cuts[-1]:
            raise ModelError(
                "E-MACE-SHAPE",
                f"{path} has {flat.size} weights where {cuts[-1]} were expected",
                fix="report the version of mace-torch that wrote the file",
            )
        return [piece.reshape(shape) for piece, shape in zip(np.split(flat, cuts[:-1]), shapes, strict=True)]


def _unsaid(what: str) -> ModelError:
    return ModelError(
        "E-MACE-INCOMPLETE",
        f"the checkpoint {what}",
        why="another version of mace-torch wrote it than those that are translated",
        fix="load and save it with a recent mace-torch",
    )


def run_extraction(file: Path, python: str | None, timeout: float) -> Extraction:
    """Read the checkpoint under the interpreter `python`, which has mace-torch; by default the one running now."""
    interpreter = python or sys.executable
    if not file.is_file():
        raise ModelError("E-MODEL-MISSING", "there is no such model file", file=str(file), fix="check the path")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.npz"
        words = [interpreter, str(Path(extract.__file__)), str(file.resolve()), str(target)]
        # Another interpreter must not find the packages of this one.
        around = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                cwd=folder,
                env=around if python else None,
            )
        except OSError as error:
            raise OptionError(
                "E-MACE-PYTHON",
                f"'{interpreter}' does not start ({error.strerror})",
                fix="give the python of an environment with mace-torch, e.g. --python ~/mace/bin/python",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise RunError(
                "E-MACE-TIMEOUT",
                f"reading the checkpoint took more than {timeout:g} s and was stopped",
                file=str(file),
                fix="allow it more time (--timeout), or read it on a machine with more memory",
            ) from error
        if done.returncode != 0:
            raise _refusal(done.returncode, done.stderr, interpreter).at(file=str(file))
        try:
            return Extraction.load(target)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise _refusal(-1, str(error), interpreter).at(file=str(file)) from error


def _refusal(code: int, said: str, interpreter: str) -> GroundstateError:
    """What an exit code of `extract.py` means; the last line it wrote says the rest."""
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it said nothing"
    if code == extract.NO_PACKAGE:
        return RunError(
            "E-MACE-PACKAGE",
            f"'{interpreter}' has no mace-torch ({last})",
            why="only mace-torch can read its checkpoints",
            fix="`pip install mace-torch` in an environment of its own, and give its python (--python)",
        )
    if code == extract.UNREADABLE:
        return ModelError(
            "E-MACE-UNREADABLE",
            f"mace-torch cannot load the file ({last})",
            fix="check that it is a whole .model file, and that mace-torch there is as new as the one that wrote it",
        )
    if code == extract.NO_MODULE:
        return ModelError(
            "E-MACE-FOREIGN",
            f"the file holds {last}, not a MACE model",
            fix="give the .model file itself, not a training checkpoint or a state dictionary",
        )
    return RunError(
        "E-MACE-EXTRACTION",
        f"reading the checkpoint under '{interpreter}' failed ({last})",
        fix="load the file with mace-torch there by hand to see more",
    )
