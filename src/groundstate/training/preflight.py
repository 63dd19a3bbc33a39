"""Contradictions between data, model and options, refused before anything is computed."""

from collections.abc import Sequence

import torch

from groundstate.atoms import (
    DataError,
    Graph,
    GroundstateError,
    OptionError,
    System,
    check,
    check_moved,
    nearest,
)
from groundstate.data import LazyRecords, Record, check_elements, check_leaks
from groundstate.potentials import Potential
from groundstate.training.aims import DIFFERENTIATED, Aim
from groundstate.training.config import TrainConfig
from groundstate.training.identity import theories_of
from groundstate.training.theories import told_by_elements


def refuse_contradictions(
    potential: Potential, train: Sequence[Record], valid: Sequence[Record], aim: Aim, config: TrainConfig
) -> None:
    """Raise the first reason why this run would fail, or teach something other than asked."""
    _amounts(train, valid, config)
    _quantities(potential, aim)
    check_elements(train, valid)
    check_leaks(train, valid)
    for role, records in (("training", train), ("validation", valid)):
        _stress_is_defined(role, records, aim, config)
        _dipole_is_defined(role, records, aim)
        _labels(role, records, aim, config)
        _structures(records, potential)
    for records in (train, valid):
        _levels(records, potential)
    _one_theory(train, valid, potential)


def _amounts(train: Sequence[Record], valid: Sequence[Record], config: TrainConfig) -> None:
    for role, records in (("training", train), ("validation", valid)):
        if len(records) == 0:
            raise DataError(
                "E-DATA-EMPTY",
                f"there are no {role} frames",
                why="without them a run can be neither made nor judged",
                fix="check the file, the filter or the fraction of the split",
            )
    if config.max_atoms is None and config.max_edges is None and config.batch_size > len(train):
        raise OptionError(
            "E-BATCH-LARGER",
            f"batch_size is {config.batch_size} and there are {len(train)} training frames",
            why="every epoch would be one step",
            fix=f"set batch_size to at most {len(train)}",
        )


def _quantities(potential: Potential, aim: Aim) -> None:
    for name in sorted(aim.requires - DIFFERENTIATED - potential.provides):
        raise OptionError(
            "E-WEIGHT-QUANTITY",
            f"the loss asks for '{name}', which this model does not predict",
            fix=nearest(name, DIFFERENTIATED | potential.provides),
        )


def _structures(records: Sequence[Record], potential: Potential) -> None:
    for index, record in enumerate(records):
        try:
            if isinstance(records, LazyRecords):
                # Distances were examined when the store was written; the model's elements and conditions were not.
                check_moved(record.system, potential.domain, None, _no_pairs)
            else:
                check(record.system, potential.domain)
        except GroundstateError as error:
            source = record.provenance
            raise error.at(file=source.file, frame=index if source.frame is None else source.frame) from None


def _no_pairs(system: System, cutoff: float) -> Graph:
    nothing = torch.zeros(0, dtype=torch.int64)
    pointers = torch.zeros(system.n_atoms + 1, dtype=torch.int64)
    return Graph(nothing, nothing, torch.zeros(0, 3, dtype=torch.int64), pointers, nothing, cutoff)


def _stress_is_defined(role: str, records: Sequence[Record], aim: Aim, config: TrainConfig) -> None:
    if "stress" not in aim.requires:
        return
    bad = [
        i
        for i, record in enumerate(records)
        if not bool(record.system.pbc.any()) and ("stress" in record.labels or config.missing == "refuse")
    ]
    if bad:
        raise OptionError(
            "E-STRESS-NON-PERIODIC",
            f"stress has a weight but {_frames(role, records, bad)} are not periodic",
            why="a molecule has no volume to divide by",
            fix="set the weight of stress to 0, or drop those labels",
        )


def _dipole_is_defined(role: str, records: Sequence[Record], aim: Aim) -> None:
    if "dipole" not in aim.requires:
        return
    bad = [i for i, record in enumerate(records) if "dipole" in record.labels and bool(record.system.pbc.any())]
    if bad:
        raise OptionError(
            "E-DIPOLE-PERIODIC",
            f"dipole has a weight but {_frames(role, records, bad)} are periodic and have its label",
            why="the dipole of a periodic structure depends on where its cell begins",
            fix="drop those labels",
        )


def _labels(role: str, records: Sequence[Record], aim: Aim, config: TrainConfig) -> None:
    for name in sorted(aim.requires):
        absent = [i for i, r in enumerate(records) if name not in r.labels]
        if len(absent) == len(records):
            raise DataError(
                "E-WEIGHT-WITHOUT-LABELS",
                f"'{name}' has a weight and no {role} frame has its label",
                why="that part of the loss would silently be 0",
                fix="name the key it was written under when reading the file, or set its weight to 0",
            )
        if absent and config.missing == "refuse":
            raise DataError(
                "E-LABEL-MISSING",
                f"'{name}' has a weight but is missing in {_frames(role, records, absent)}",
                why="a missing label must not be learned as 0",
                fix='name the key it was written under when reading, drop those frames, or state missing="mask"',
            )
        bad = [i for i, r in enumerate(records) if name in r.labels and not bool(torch.isfinite(r.labels[name]).all())]
        if bad:
            raise DataError(
                "E-LABEL-NOT-FINITE",
                f"'{name}' is NaN or infinite in {_frames(role, records, bad)}",
                why="one such label turns every weight into NaN",
                fix="drop those frames",
            )


def _one_theory(train: Sequence[Record], valid: Sequence[Record], potential: Potential) -> None:
    theories = theories_of(train) | theories_of(valid)
    if len(theories) < 2 or potential.domain.theories > 1:
        return
    if told_by_elements(train, valid):
        return
    raise DataError(
        "E-THEORY-MIXED",
        f"the frames come from {len(theories)} levels of theory ({', '.join(theories)})",
        why="their energies differ by more than any model resolves",
        fix="train on one of them, or give the model one head per level",
    )


def _levels(records: Sequence[Record], potential: Potential) -> None:
    """A frame of a level that the model names must ask for the read-out of that level."""
    named = {level: i for i, level in enumerate(potential.theories)} if potential.domain.theories > 1 else {}
    for index, record in enumerate(records):
        asked = 0 if record.system.theory is None else int(record.system.theory[0])
        own = asked if record.theory is None else named.get(record.theory, asked)
        if own != asked:
            source = record.provenance
            raise DataError(
                "E-THEORY-HEAD",
                f"the frame's labels are {potential.theories[own].label} and it asks for read-out {asked}, which is"
                f" {potential.theories[asked].label}",
                why="one level would be learned under the name of another",
                fix=f"give its system theory={own}",
                file=source.file,
                frame=index if source.frame is None else source.frame,
            )


def _frames(role: str, records: Sequence[Record], indices: Sequence[int]) -> str:
    def name(i: int) -> str:
        source = records[i].provenance
        return str(i) if source.frame is None else str(source.frame)

    files = sorted({records[i].provenance.file or "" for i in indices} - {""})
    shown = ", ".join(name(i) for i in indices[:8]) + (f" and {len(indices) - 8} more" if len(indices) > 8 else "")
    return f"{len(indices)} of {len(records)} {role} frames ({': '.join([*files[:1], shown])})"
