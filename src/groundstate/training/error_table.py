"""How wrong a potential is on labelled frames, as one table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import DataError, quantity
from groundstate.data import Batch, Record, batches, composition, gather
from groundstate.potentials import Potential
from groundstate.training.aims import errors


@dataclass(frozen=True)
class ErrorRow:
    """Errors of one quantity: root mean square, mean absolute, mean (prediction − label), over `count` components."""

    unit: str
    rmse: float
    mae: float
    mean: float
    count: int


@dataclass(frozen=True)
class ErrorTable:
    """Errors by name.

    energy             per atom, as predicted
    energy_no_offset   per atom, after the mean error of each composition is taken out: what distortions and reactions
                       at a fixed composition feel. Absent when no composition occurs twice.
    energy_relative    per atom, of energies measured from the frame of lowest labelled energy of each composition
    forces, stress, …  per component
    """

    frames: int
    rows: Mapping[str, ErrorRow]

    def __getitem__(self, name: str) -> ErrorRow:
        return self.rows[name]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is the inverse."""
        return {"frames": self.frames, "rows": {name: asdict(row) for name, row in self.rows.items()}}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ErrorTable":
        """Inverse of `as_dict`."""
        return cls(record["frames"], {name: ErrorRow(**row) for name, row in record["rows"].items()})

    def __str__(self) -> str:
        lines = [f"{'quantity':<18}{'unit':>10}{'RMSE':>12}{'MAE':>12}{'mean':>12}{'count':>9}"]
        lines += [
            f"{name:<18}{row.unit:>10}{row.rmse:>12.3g}{row.mae:>12.3g}{row.mean:>12.3g}{row.count:>9}"
            for name, row in self.rows.items()
        ]
        return "\n".join([*lines, f"{self.frames} frames"])


def evaluate_errors(potential: Potential, records: Sequence[Record], *, max_atoms: int = 512) -> ErrorTable:
    """Errors on every labelled quantity the potential gives, in batches of up to `max_atoms`.

    Raises DataError when no frame carries such a label or when a prediction is not finite.
    Checked: tests/training/test_error_table.py
    """
    given = {"energy", "forces", "stress"} | potential.provides
    names = tuple(sorted({name for record in records for name in record.labels} & given))
    if not names:
        raise DataError(
            "E-LABEL-MISSING",
            f"none of the {len(records)} frames has a label this model predicts",
            why="there is nothing to compare with",
            fix="name the keys of the labels when reading the file",
        )
    device = next((tensor.device for tensor in potential.state_dict().values()), torch.device("cpu"))
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    frames_with_energy: list[int] = []
    for indices in batches(records, max_atoms=max_atoms, shuffle=False):
        batch: Batch = gather(records, indices).to(device)
        for name, values in errors(potential, batch, names).items():
            _refuse_not_finite(name, values, records, indices)
            found[name].append(values.cpu())
        frames_with_energy += [i for i in indices if "energy" in records[i].labels]
    columns = {name: torch.cat(values) for name, values in found.items()}
    rows: dict[str, ErrorRow] = {}
    for name in names:
        row = quantity(name)
        rows[name] = _row(columns[name], row.unit + ("/atom" if row.extensive else ""))
        if name == "energy":
            rows.update(_within_compositions([records[i] for i in frames_with_energy], columns[name]))
    return ErrorTable(len(records), rows)


def _row(values: Tensor, unit: str) -> ErrorRow:
    rmse = float(values.square().mean().sqrt())
    return ErrorRow(unit, rmse, float(values.abs().mean()), float(values.mean()), values.numel())


def _within_compositions(records: Sequence[Record], values: Tensor) -> dict[str, ErrorRow]:
    groups: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        groups.setdefault(composition(record.system), []).append(i)
    per_atom = torch.stack([record.labels["energy"].cpu() / record.n_atoms for record in records])
    repeated = [torch.tensor(members) for members in groups.values() if len(members) > 1]
    if not repeated:
        return {}
    centred = torch.cat([values[members] - values[members].mean() for members in repeated])
    lowest = [members[per_atom[members].argmin()] for members in repeated]
    relative = torch.cat(
        [(values[members] - values[low])[members != low] for members, low in zip(repeated, lowest, strict=True)]
    )
    return {"energy_no_offset": _row(centred, "eV/atom"), "energy_relative": _row(relative, "eV/atom")}


def _refuse_not_finite(name: str, values: Tensor, records: Sequence[Record], indices: Sequence[int]) -> None:
    if not bool(torch.isfinite(values).all()):
        source = records[indices[0]].provenance
        raise DataError(
            "E-RESULT-NOT-FINITE",
            f"the predicted {name} is not finite for one of frames {', '.join(str(i) for i in indices[:8])}",
            why="an average over it would be meaningless",
            fix="inspect these frames; they are far outside what the model knows",
            file=source.file,
        )
