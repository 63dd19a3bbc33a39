"""Points from which molecular dynamics goes on as if it had never stopped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from groundstate.atoms import RunError
from groundstate.data.files import write_whole
from groundstate.simulation.dynamics.state import Bath, MDState
from groundstate.simulation.outputs import RunFolder
from groundstate.simulation.states import join, take

NAME = "checkpoint.safetensors"
_OF_SYSTEM = ("positions", "cell")
_OF_STATE = ("velocities", "forces", "energy", "strain_gradient", "target")
_OF_BATH = tuple(f.name for f in fields(Bath))


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
    wanted = (*_OF_SYSTEM, *_OF_STATE, *_OF_BATH)
    if absent := sorted(set(wanted) - {name.rpartition(".")[0] for name in tensors} if tensors else ()):
        raise RunError(
            "E-RUN-MISMATCH",
            f"the checkpoint in {folder.path} lacks {', '.join(absent)}",
            why="it was written by an earlier version, whose runs went by other rules",
            fix="end the run with the version that began it, or begin again in another folder",
        )

    def unpack(i: int, step: int) -> MDState:
        one = take(first, first.system, [row[i]])
        stored = {name: tensors[f"{name}.{i}"] for name in wanted}
        system = one.system.replace(**{name: stored[name] for name in _OF_SYSTEM})
        bath = Bath(**{name: stored[name] for name in _OF_BATH})
        return replace(one, system=system, bath=bath, step=step, **{name: stored[name] for name in _OF_STATE})

    moving = [unpack(i, facts["step"]) for i in facts["moving"]]
    ended = {
        int(i): Ended(unpack(int(i), step), status, code, reason)
        for i, (step, status, code, reason) in facts["ended"].items()
    }
    return (join(moving) if moving else None), ended, facts["sizes"]


def _pack(tensors: dict[str, Tensor], i: int, one: MDState) -> None:
    for owner, names in ((one.system, _OF_SYSTEM), (one, _OF_STATE), (one.bath, _OF_BATH)):
        for name in names:
            tensors[f"{name}.{i}"] = torch.clone(getattr(owner, name)).contiguous()
