"""Points from which molecular dynamics goes on as if it had never stopped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from groundstate.data.files import write_whole
from groundstate.simulation.dynamics.integrate import MDState
from groundstate.simulation.outputs import RunFolder
from groundstate.simulation.states import join, take

NAME = "checkpoint.safetensors"


@dataclass(frozen=True, eq=False)
class Ended:
    """A structure that stopped, with its last good state."""

    state: MDState
    status: str
    code: str
    reason: str

    @property
    def step(self) -> int:
        """Time steps done."""
        return self.state.step


def growing_files(folder: RunFolder) -> list[Path]:
    """The files that are appended to along the run."""
    return [*folder.path.glob("samples_*.jsonl"), *folder.path.glob("trajectory_*.extxyz")]


def save(folder: RunFolder, state: MDState | None, ended: Mapping[int, Ended]) -> None:
    """Write the moving and the ended structures, and how long each file of the run is at this point."""
    tensors: dict[str, Tensor] = {}
    for i, end in ended.items():
        _pack(tensors, i, end.state)
    moving: list[int] = []
    if state is not None:
        moving = state.index.tolist()
        for s, i in enumerate(moving):
            _pack(tensors, i, take(state, state.system, [s]))
    facts = {
        "step": None if state is None else state.step,
        "moving": moving,
        "ended": {i: [end.step, end.status, end.code, end.reason] for i, end in ended.items()},
        "sizes": {path.name: path.stat().st_size for path in growing_files(folder)},
    }
    write_whole(folder.path / NAME, to_bytes(tensors, metadata={"state": json.dumps(facts)}))


def restore(folder: RunFolder, first: MDState) -> tuple[MDState | None, dict[int, Ended], dict[str, int]] | None:
    """The moving structures, the ended ones and the lengths of files; `first` is the initial state of the same run."""
    path = folder.path / NAME
    if not path.exists():
        return None
    with safe_open(path, framework="pt", device=str(first.system.device)) as file:
        facts = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    row = {i: s for s, i in enumerate(first.index.tolist())}

    def unpack(i: int, step: int) -> MDState:
        one = take(first, first.system, [row[i]])
        values = {name: tensors[f"{name}.{i}"] for name in ("velocities", "forces", "energy")}
        return replace(one, system=one.system.replace(positions=tensors[f"positions.{i}"]), step=step, **values)

    moving = [unpack(i, facts["step"]) for i in facts["moving"]]
    ended = {
        int(i): Ended(unpack(int(i), step), status, code, reason)
        for i, (step, status, code, reason) in facts["ended"].items()
    }
    return (join(moving) if moving else None), ended, facts["sizes"]


def _pack(tensors: dict[str, Tensor], i: int, one: MDState) -> None:
    values = {"positions": one.system.positions, "velocities": one.velocities, "forces": one.forces}
    for name, value in (values | {"energy": one.energy}).items():
        tensors[f"{name}.{i}"] = torch.clone(value).contiguous()
