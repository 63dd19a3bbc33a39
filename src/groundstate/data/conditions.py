"""Charge and multiplicity as files state them, under any of their usual names."""

from collections.abc import Mapping
from typing import Any

import torch

from groundstate.atoms import DataError, System
from groundstate.data.frame import Frame
from groundstate.data.numbers_in_text import numbers

CONDITION_KEYS: Mapping[str, tuple[str, ...]] = {
    "charge": ("charge", "total_charge"),
    "multiplicity": ("multiplicity", "spin_multiplicity", "spin", "total_spin"),
}
"""`spin` and `total_spin` are 2S+1, as every public data set with charges writes them."""


def read_conditions(frame: Frame, keys: dict[str, str]) -> System:
    """The frame's system with what its `info` states; two names that disagree are refused. Fills `keys`."""
    values = {name: _stated(name, frame.info, keys) for name in CONDITION_KEYS}
    charge, multiplicity = values["charge"], values["multiplicity"]
    system = frame.system
    if charge is not None:
        system = system.replace(charge=torch.tensor([charge], dtype=torch.float64))
    if multiplicity is not None:
        if not multiplicity.is_integer():
            raise DataError(
                "E-CONDITION-VALUE",
                f"multiplicity {multiplicity:g} is not an integer",
                why="multiplicity is 2S+1",
                fix="give 2S+1, not S",
            )
        system = system.replace(multiplicity=torch.tensor([int(multiplicity)]))
    return system


def _stated(name: str, info: Mapping[str, Any], keys: dict[str, str]) -> float | None:
    found: dict[str, float] = {}
    for key in CONDITION_KEYS[name]:
        if key not in info:
            continue
        value = numbers(info[key])
        if value is None or value.size != 1:
            raise DataError(
                "E-CONDITION-VALUE",
                f"'{key}' is {info[key]!r}, not one number",
                fix=f"give the {name} as one number, or remove the key",
            )
        found[key] = float(value.reshape(()))
    if len(set(found.values())) > 1:
        stated = ", ".join(f"{key}={value:g}" for key, value in found.items())
        raise DataError(
            "E-CONDITION-CONFLICT",
            f"the {name} is stated twice and differently: {stated}",
            why="the two are different electronic states",
            fix="keep the right one",
        )
    if not found:
        return None
    keys[name] = next(iter(found))
    return found[keys[name]]
