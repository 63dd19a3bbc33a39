"""What a base model says of structures: computed once, kept in the run's folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from groundstate.atoms import System, quantity
from groundstate.data import Record
from groundstate.potentials import Potential, evaluate, refuse_not_finite
from groundstate.training.identity import structure_hash
from groundstate.training.run_folder import RunFolder

LEARNED = ("energy", "forces", "stress")
"""Quantities that add, so that a difference of two models is one: what corrections and pseudo-labels are made of."""


class BaseLabels:
    """Predictions of one base, under structure hashes in one file, so that a run that continues sees the same bits."""

    def __init__(self, base: Potential, file: Path) -> None:
        self._base, self._file, self._known = base, file, dict[str, Tensor]()
        self._identity = base.fingerprint()
        if file.exists():
            with safe_open(str(file), framework="pt") as stored:
                if (stored.metadata() or {}).get("base") == self._identity:
                    self._known = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118

    def residuals(self, records: Sequence[Record]) -> list[Record]:
        """The records with labels − predictions in place of labels; quantities that do not add are dropped."""
        found = []
        for record in records:
            said = self._of(record.system, [name for name in LEARNED if name in record.labels])
            found.append(replace(record, labels={n: record.labels[n].double() - value for n, value in said.items()}))
        self._keep()
        return found

    def pseudo_labelled(self, records: Sequence[Record], names: Sequence[str]) -> list[Record]:
        """The records with predictions in place of labels."""
        found = [replace(record, labels=self._of(record.system, names)) for record in records]
        self._keep()
        return found

    def _of(self, system: System, names: Sequence[str]) -> dict[str, Tensor]:
        key = structure_hash(system)
        missing = [name for name in names if f"{key}/{name}" not in self._known]
        if missing:
            values = evaluate(self._base, system, missing)
            refuse_not_finite(values, system)
            for name, value in values.items():
                single = value if quantity(name).per == "atom" else value[0]
                self._known[f"{key}/{name}"] = single.double().cpu().contiguous()
        return {name: self._known[f"{key}/{name}"] for name in names}

    def _keep(self) -> None:
        file = RunFolder(self._file.parent)
        file.path.mkdir(parents=True, exist_ok=True)
        file.write(self._file.name, to_bytes(self._known, metadata={"base": self._identity}))


def shifted(records: Sequence[Record], shift: Mapping[int, float], levels: Sequence[int]) -> list[Record]:
    """Records of a base whose reference energies at these levels of theory have moved by `shift` (eV per element)."""
    found = []
    for record in records:
        theory = record.system.theory
        asked = "energy" in record.labels and (0 if theory is None else int(theory[0])) in levels
        moved = sum(shift.get(z, 0.0) for z in record.system.numbers.tolist()) if asked else 0.0
        labels = {n: value + moved if n == "energy" else value for n, value in record.labels.items()}
        found.append(replace(record, labels=labels))
    return found


def levels_of(records: Sequence[Record]) -> list[int]:
    """Levels of theory, as places among a model's, that the records ask for; the first where they name none."""
    given = [record.system.theory for record in records]
    return sorted({0 if theory is None else int(theory[0]) for theory in given})


def zeros(records: Sequence[Record]) -> list[Record]:
    """The records with nothing for a correction to learn."""
    return [replace(r, labels={n: torch.zeros_like(value) for n, value in r.labels.items()}) for r in records]
