"""How wrong a potential is on labelled frames, as one table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import DataError, quantity
from groundstate.data import Batch, Record, batches, collate, composition
from groundstate.potentials import Potential
from groundstate.training.aims import DIFFERENTIATED, compared, errors
from groundstate.training.identity import theories_of
from groundstate.training.theories import names_of, told_by_elements


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
    energy @ PBE, …    the same over the frames of one level of theory, where there are several
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
        lines = [f"{'quantity':<24}{'unit':>10}{'RMSE':>12}{'MAE':>12}{'mean':>12}{'count':>9}"]
        lines += [
            f"{name:<24}{row.unit:>10}{row.rmse:>12.3g}{row.mae:>12.3g}{row.mean:>12.3g}{row.count:>9}"
            for name, row in self.rows.items()
        ]
        return "\n".join([*lines, f"{self.frames} frames"])


ErrorsByRecord = Mapping[str, Mapping[int, Tensor]]
"""Quantity → record → prediction − label of its components, extensive quantities per atom."""


def evaluate_errors(potential: Potential, records: Sequence[Record], *, max_atoms: int = 512) -> ErrorTable:
    """Errors on every labelled quantity the potential gives, in batches of up to `max_atoms`.

    Raises DataError when no frame carries such a label or when a prediction is not finite.
    Checked: tests/training/test_error_table.py
    """
    return table_of(errors_by_record(potential, records, max_atoms=max_atoms), records)


def errors_by_record(potential: Potential, records: Sequence[Record], *, max_atoms: int = 512) -> ErrorsByRecord:
    """What `evaluate_errors` makes a table of."""
    given = DIFFERENTIATED | potential.provides
    names = tuple(sorted({name for record in records for name in record.labels} & given))
    if not names:
        raise DataError(
            "E-LABEL-MISSING",
            f"none of the {len(records)} frames has a label this model predicts",
            why="there is nothing to compare with",
            fix="name the keys of the labels when reading the file",
        )
    device = next((tensor.device for tensor in potential.state_dict().values()), torch.device("cpu"))
    columns: dict[str, dict[int, Tensor]] = {name: {} for name in names}
    for indices in batches(records, max_atoms=max_atoms, shuffle=False):
        batch: Batch = collate(records, indices).to(device)
        for name, values in errors(potential, batch, names).items():
            _refuse_not_finite(name, values, records, indices)
            labelled = [i for i in indices if name in records[i].labels]
            pieces = values.cpu().split([records[i].labels[name].numel() for i in labelled])
            columns[name].update(zip(labelled, pieces, strict=True))
    return columns


def table_of(columns: ErrorsByRecord, records: Sequence[Record]) -> ErrorTable:
    """Errors over all records, and over those of each level of theory."""
    rows = _rows(columns, records, range(len(records)), "")
    levels = tuple(theories_of(records).values())
    several = len(levels) > 1 and not told_by_elements(records)
    for level, name in zip(levels, names_of(levels), strict=True) if several else ():
        rows |= _rows(columns, records, [i for i, record in enumerate(records) if record.theory == level], f" @ {name}")
    return ErrorTable(len(records), rows)


def panels_of(columns: ErrorsByRecord, records: Sequence[Record]) -> dict[str, tuple[Tensor, Tensor]]:
    """(Labels, predictions) of every component, extensive quantities per atom, under name and unit."""
    panels = {}
    for name, by_record in columns.items():
        row = quantity(name)
        labels = [
            compared(name, records[i].labels[name].to(torch.float64), records[i].system).reshape(-1)
            / (records[i].n_atoms if row.extensive else 1)
            for i in by_record
        ]
        if labels:
            reference = torch.cat(labels)
            unit = row.unit + ("/atom" if row.extensive else "")
            panels[f"{name} ({unit})"] = reference, reference + torch.cat(list(by_record.values()))
    return panels


def _rows(
    columns: ErrorsByRecord, records: Sequence[Record], members: Sequence[int], suffix: str
) -> dict[str, ErrorRow]:
    """Errors over some of the records; `columns` holds those of each quantity by record."""
    rows: dict[str, ErrorRow] = {}
    for name, by_record in columns.items():
        chosen = [i for i in members if i in by_record]
        if not chosen:
            continue
        row, values = quantity(name), torch.cat([by_record[i] for i in chosen])
        rows[name + suffix] = _row(values, row.unit + ("/atom" if row.extensive else ""))
        if name == "energy":
            some = (records[i] for i in chosen)
            formulas, per_atom = zip(
                *((composition(r.system), r.labels["energy"].cpu() / r.n_atoms) for r in some), strict=True
            )
            within = _within_compositions(formulas, torch.stack(per_atom), values)
            rows |= {label + suffix: errors_within for label, errors_within in within.items()}
    return rows


def _row(values: Tensor, unit: str) -> ErrorRow:
    rmse = float(values.square().mean().sqrt())
    return ErrorRow(unit, rmse, float(values.abs().mean()), float(values.mean()), values.numel())


def _within_compositions(formulas: Sequence[str], per_atom: Tensor, values: Tensor) -> dict[str, ErrorRow]:
    groups: dict[str, list[int]] = {}
    for i, formula in enumerate(formulas):
        groups.setdefault(formula, []).append(i)
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
