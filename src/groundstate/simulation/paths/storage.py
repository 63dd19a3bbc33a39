"""Paths on disk: finished ones as frames and a line each, running ones in a checkpoint to the last bit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from groundstate.atoms import System
from groundstate.data.files import write_whole
from groundstate.simulation.frames import frame_text, read_frame
from groundstate.simulation.outputs import RunFolder
from groundstate.simulation.paths.band import BandState
from groundstate.simulation.paths.modes import Modes
from groundstate.simulation.paths.profile import Profile
from groundstate.simulation.relaxation.fire import Coordinates, FireState
from groundstate.simulation.states import take

CHECKPOINT = "checkpoint.safetensors"
_NUMBERS = (
    "status", "code", "reason", "saddle", "climbed", "barrier_forward", "barrier_backward", "reaction_energy",
    "max_force", "steps",
)  # fmt: skip


class PathStore:
    """What a run folder holds of paths; without a folder nothing is kept and nothing found."""

    def __init__(self, folder: RunFolder | None, keys: Sequence[str]) -> None:
        self.folder, self.keys = folder, keys
        self.lines = {} if folder is None else {line["key"]: line for line in folder.lines}
        self.running = {} if folder is None else _read(folder.path / CHECKPOINT)

    def subfolder(self, name: str) -> Path | None:
        """Where a calculation that is part of this one keeps its results."""
        return None if self.folder is None else self.folder.path / name

    def finish(self, i: int, result: Any, record: Mapping[str, Any]) -> None:
        """One finished path."""
        if self.folder is None:
            return
        line: dict[str, Any] = {"key": self.keys[i], "index": i, "record": dict(record)}
        line |= {name: getattr(result, name) for name in _NUMBERS}
        line |= {"notes": list(result.notes), "warnings": list(result.warnings)}
        line["profile"] = None if result.profile is None else _numbers(result.profile)
        line["modes"] = None if result.modes is None else _numbers(result.modes) | {"negative": result.modes.negative}
        if result.images is not None and result.profile is not None:
            text = "".join(
                frame_text(image, {}, {"image": m, "energy_from_start": float(result.profile.energy[m])})
                for m, image in enumerate(result.images)
            )
            name = "converged.extxyz" if result.status == "converged" else "not_converged.extxyz"
            line["frame"] = self.folder.append(name, text)
        self.folder.commit(line)

    def finished(self, i: int, start: System) -> dict[str, Any] | None:
        """Fields of the result of a path that was finished before."""
        if self.folder is None or self.keys[i] not in self.lines:
            return None
        line = self.lines[self.keys[i]]
        kept: dict[str, Any] = {name: line[name] for name in _NUMBERS}
        kept |= {"notes": tuple(line["notes"]), "warnings": tuple(line["warnings"]), "images": None}
        kept["profile"] = None if line["profile"] is None else Profile(**_tensors(line["profile"]))
        kept["modes"] = None
        if line["modes"] is not None:
            numbers = {name: value for name, value in line["modes"].items() if name != "negative"}
            kept["modes"] = Modes(**_tensors(numbers), negative=int(line["modes"]["negative"]))
        if "frame" in line:
            rows = self.folder.frame(line["frame"]).splitlines(keepends=True)
            size = start.n_atoms + 2
            frames = ["".join(rows[k : k + size]) for k in range(0, len(rows), size)]
            kept["images"] = System.batch([read_frame(frame, start)[0] for frame in frames])
        return kept

    def checkpoint(self, state: BandState) -> None:
        """The bands under way."""
        if self.folder is None:
            return
        tensors: dict[str, Tensor] = {}
        for s, i in enumerate(state.index.tolist()):
            one = take(state, state.system, [s])
            tensors |= {f"{self.keys[i]}/{name}": value.contiguous() for name, value in _flat(one).items()}
        write_whole(self.folder.path / CHECKPOINT, to_bytes(tensors, metadata={"keys": json.dumps(self.keys)}))

    def continued(self, i: int, first: BandState) -> BandState:
        """The band of a path as the last checkpoint has it, else as it begins."""
        values = {name: self.running.get(f"{self.keys[i]}/{name}") for name in _flat(first)}
        if any(value is None for value in values.values()):
            return first
        found = {name: value.to(first.system.device) for name, value in values.items() if value is not None}
        velocity = Coordinates(found["velocity"], torch.zeros_like(first.system.cell))
        fire = FireState(velocity, *(found[name] for name in ("timestep", "mixing", "downhill", "max_step")))
        rest = ("force", "forces", "energy", "climbing", "residual", "steps")
        system = first.system.replace(positions=found["positions"])
        return replace(first, system=system, fire=fire, **{name: found[name] for name in rest})


def _flat(one: BandState) -> dict[str, Tensor]:
    fire = one.fire
    return {
        "positions": one.system.positions,
        "velocity": fire.velocity.atoms,
        "timestep": fire.timestep,
        "mixing": fire.mixing,
        "downhill": fire.downhill,
        "max_step": fire.max_step,
        "force": one.force,
        "forces": one.forces,
        "energy": one.energy,
        "climbing": one.climbing,
        "residual": one.residual,
        "steps": one.steps,
    }


def _read(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        return {}
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _numbers(record: Any) -> dict[str, Any]:
    return {name: value.tolist() for name, value in vars(record).items() if isinstance(value, Tensor)}


def _tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
