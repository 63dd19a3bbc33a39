"""Data sets examined before anything is learned from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundstate.api.sources import File, load
from groundstate.api.structures import predict
from groundstate.data import LabelReport, Record, Survey, iterate, survey
from groundstate.data.lint import Examination, examine
from groundstate.simulation import Callback, Progress, silent

_MOST = 200
"""Frames a model is asked about; more would not change a sign or a unit."""
_FREE = ("free_energy", "REF_free_energy")


@dataclass(frozen=True, eq=False)
class DataCheck:
    """The examination of a data set, and what was read from each of its files."""

    examination: Examination
    labels: Mapping[str, LabelReport]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        read = {name: {"table": own.as_table(), "notes": list(own.notes)} for name, own in self.labels.items()}
        return {"labels": read, **self.examination.as_dict()}


def check_data(
    source: File | Sequence[File] | Sequence[Record],
    against: File | Sequence[File] | Sequence[Record] = (),
    *,
    model: Any = None,
    keys: Mapping[str, str | None] | None = None,
    stress_convention: str | None = None,
    progress: Callback = silent,
) -> DataCheck:
    """Everything wrong with a data set that can be told from it, and leaks between it and another.

    `gs.check_data("train.extxyz", "test.extxyz").examination.findings`. With a model its forces and stresses are
    compared too, which tells signs and units where frames are too far apart to tell by themselves. `keys` and
    `stress_convention` are those of `read`; what reading would refuse is among the findings.
    """
    options = {"keys": keys, "stress_convention": stress_convention}
    mine, surveys = _read(source, options)
    other, _ = _read(against, options)
    refused = [error for own in surveys.values() for error in own.refused]
    examination = examine(
        mine,
        other,
        refused=refused,
        other_energies=_free_energies(mine, surveys, stress_convention),
        predictions=None if model is None else _predicted(mine, model),
        model="" if model is None else load(model).id,
        progress=lambda done, total, name: progress(Progress(done, total, "checks", name)),
    )
    return DataCheck(examination, {name: own.report for name, own in surveys.items()})


def _read(source: Any, options: Mapping[str, Any]) -> tuple[list[Record], dict[str, Survey]]:
    """Records of files in order, or records as they are given."""
    parts = [source] if isinstance(source, str | Path) else list(source)
    surveys = {str(part): survey(part, **options) for part in parts if isinstance(part, str | Path)}
    records = [r for part in parts for r in ([part] if isinstance(part, Record) else surveys[str(part)].records)]
    return records, surveys


def _predicted(records: Sequence[Record], model: Any) -> list[Mapping[str, NDArray[np.float64]] | None]:
    """Forces and stress a model gives of each record: of those evenly chosen where they are many."""
    loaded = load(model)
    said: list[Mapping[str, NDArray[np.float64]] | None] = [None] * len(records)
    chosen = [r for r in range(0, len(records), -(-len(records) // _MOST)) if records[r].n_atoms > 1]
    for want in (("forces", "stress"), ("forces",)):
        members = [r for r in chosen if bool(records[r].system.pbc.any()) == ("stress" in want)]
        for r, result in zip(members, predict([records[r].system for r in members], loaded, want), strict=True):
            if result.problem is None:
                said[r] = {name: value.detach().double().cpu().numpy() for name, value in result.values.items()}
    return said


def _free_energies(
    records: Sequence[Record], surveys: Mapping[str, Survey], stress_convention: str | None
) -> dict[str, NDArray[np.float64]]:
    """The free energies of files that hold them beside the energies that were read."""
    found: dict[tuple[str | None, int | None], float] = {}
    for name, own in surveys.items():
        if not any(note.startswith("free_energy is present too") for note in own.report.notes):
            continue
        for key in _FREE:
            again = iterate(
                name, keys={"energy": key}, stress_convention=stress_convention, missing="mask", salvage=True
            )
            for record in again:
                if "energy" in record.labels:
                    found[record.provenance.file, record.provenance.frame] = float(record.labels["energy"])
    if not found:
        return {}
    places = [(record.provenance.file, record.provenance.frame) for record in records]
    return {"free_energy": np.array([found.get(place, np.nan) for place in places])}
