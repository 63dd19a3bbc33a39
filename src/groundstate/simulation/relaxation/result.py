"""How the relaxation of one structure ended, in memory and on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import GroundstateError, System
from groundstate.simulation.frames import frame_text, read_frame
from groundstate.simulation.outputs import RunFolder

Status = Literal["converged", "max_steps", "diverged", "invalid"]


@dataclass(frozen=True, eq=False)
class RelaxResult:
    """How the relaxation of one structure ended.

    status      `converged`; `max_steps`: the last frame; `diverged`: the frame of lowest enthalpy before things went
                wrong (or memory ran out); `invalid`: refused at the door, the input
    code, reason  why it is not converged; empty when it is
    system      that frame · forces there, eV/Å, `None` where nothing was computed
    stress      there, eV/Å³, of a crystal whose cell relaxed, else `None`
    energy, enthalpy (E + pV) eV · max_force, max_cell_force eV/Å, what the tolerance was compared with · volume_ratio
    to the input (areas of a slab) · notes for people · record: potential, configuration and version that made it
    """

    index: int
    status: Status
    code: str
    reason: str
    system: System
    forces: Float[Tensor, "atom 3"] | None
    stress: Float[Tensor, "3 3"] | None
    energy: float | None
    enthalpy: float | None
    max_force: float | None
    max_cell_force: float | None
    volume_ratio: float
    steps: int
    notes: tuple[str, ...]
    record: Mapping[str, Any]

    @property
    def converged(self) -> bool:
        """Whether forces (and stress, where the cell relaxed) are below the tolerance in a sound structure."""
        return self.status == "converged"


_NUMBERS = ("energy", "enthalpy", "max_force", "max_cell_force", "volume_ratio", "steps")


def stored(folder: RunFolder, key: str, result: RelaxResult) -> None:
    """Put a finished result on disk."""
    line: dict[str, Any] = {"key": key, "index": result.index, "status": result.status}
    line |= {"code": result.code, "reason": result.reason, "notes": list(result.notes)}
    line |= {name: getattr(result, name) for name in _NUMBERS} | {"record": dict(result.record)}
    line["stress"] = None if result.stress is None else result.stress.tolist()
    if result.forces is not None:
        facts = {name: line[name] for name in ("index", "status", "energy", "max_force")}
        text = frame_text(result.system, {"forces": result.forces}, facts | {"model": result.record["potential"]})
        name = "converged.extxyz" if result.converged else "not_converged.extxyz"
        line["frame"] = folder.append(name, text)
    folder.commit(line)


def restored(folder: RunFolder, line: Mapping[str, Any], index: int, system: System) -> RelaxResult:
    """The result of structure `index` of this call, whose input is `system`, as it was put on disk."""
    forces = None
    if "frame" in line:
        system, (forces,) = read_frame(folder.frame(line["frame"]), system)
    kept = {name: line[name] for name in ("status", "code", "reason", *_NUMBERS, "record")}
    kept["stress"] = None if line["stress"] is None else torch.tensor(line["stress"], dtype=torch.float64)
    return RelaxResult(index=index, system=system, forces=forces, notes=tuple(line["notes"]), **kept)


def refused(index: int, system: System, problem: GroundstateError, notes: Sequence[str], record: Any) -> RelaxResult:
    """The result of a structure that was not computed."""
    nothing = dict.fromkeys(("forces", "stress", "energy", "enthalpy", "max_force", "max_cell_force"))
    return RelaxResult(
        index=index,
        status="invalid",
        code=problem.code,
        reason=str(problem),
        system=system,
        volume_ratio=1.0,
        steps=0,
        notes=tuple(notes),
        record=record,
        **nothing,
    )
