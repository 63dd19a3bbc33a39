"""Batched states: frozen records whose annotations say whether a field has a row per atom, per structure, or is shared.

`take` and `join` let structures leave and enter a running batch; `choose` mixes two states structure by structure.
Checked: tests/simulation/test_batched_states.py
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import AbstractArray, Bool, Int
from torch import Tensor

from groundstate.atoms import System

Record = TypeVar("Record")


def atom_rows(system: System, systems: Sequence[int]) -> Int[Tensor, " row"]:
    """Rows of the atoms of the chosen structures, in that order."""
    ptr = system.system_ptr.tolist()
    parts = [torch.arange(ptr[s], ptr[s + 1], device=system.device) for s in systems]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=system.device)


def take(record: Record, system: System, systems: Sequence[int]) -> Record:
    """The state of the chosen structures; `system` is the batch the state belongs to."""
    rows = {"atom": atom_rows(system, systems), "system": torch.tensor(list(systems), device=system.device)}

    def pick(axis: str, values: list[Any]) -> Any:
        return values[0].select(systems) if isinstance(values[0], System) else values[0][rows[axis]]

    return _rebuild(pick, [record])


def join(records: Sequence[Record]) -> Record:
    """States one after the other, in one batch."""

    def concatenate(axis: str, values: list[Any]) -> Any:
        return System.batch(values) if isinstance(values[0], System) else torch.cat(values)

    return _rebuild(concatenate, records)


def choose(chosen: Bool[Tensor, " system"], owner: Int[Tensor, " atom"], yes: Record, no: Record) -> Record:
    """`yes` for the chosen structures, `no` for the others; `owner` is the structure of each atom.

    Of a `System` it is positions and cells that may differ.
    """
    masks = {"atom": chosen[owner], "system": chosen}

    def mix(axis: str, values: list[Any]) -> Any:
        if isinstance(values[0], System):
            positions = mix("atom", [system.positions for system in values])
            return values[1].replace(positions=positions, cell=mix("system", [system.cell for system in values]))
        mask = masks[axis]
        return torch.where(mask.reshape(-1, *[1] * (values[0].dim() - 1)), values[0], values[1])

    return _rebuild(mix, [yes, no])


def _rebuild(combine: Callable[[str, list[Any]], Any], records: Sequence[Any]) -> Any:
    changes = {}
    for f in fields(records[0]):
        values = [getattr(record, f.name) for record in records]
        if values[0] is None:
            continue
        if f.type is System:
            changes[f.name] = combine("system", values)
        elif is_dataclass(values[0]):
            changes[f.name] = _rebuild(combine, values)
        elif issubclass(f.type, AbstractArray):  # type: ignore[arg-type]
            changes[f.name] = combine(f.type.dim_str.split()[0], values)  # type: ignore[union-attr]
    return replace(records[0], **changes)
