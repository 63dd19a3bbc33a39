"""The table of errors against sums written out."""

from dataclasses import replace

import pytest
import torch

from groundstate.atoms import GroundstateError
from groundstate.data import Record
from groundstate.training import ErrorTable, evaluate_errors
from toys import lennard_jones
from training.specimens import CUTOFF, copper


def shifted(record: Record, energy_eV: float, force: float) -> Record:
    labels = dict(record.labels)
    labels["energy"], labels["forces"] = labels["energy"] - energy_eV, labels["forces"] - force
    return replace(record, labels=labels)


def test_errors_of_shifted_labels() -> None:
    teacher, records = lennard_jones(cutoff=CUTOFF), copper(4, seed=7)
    lowest = min(range(4), key=lambda i: float(records[i].labels["energy"]))
    offsets = [-0.4 if i == lowest else -0.8 for i in range(4)]
    table = evaluate_errors(teacher, [shifted(r, e, 0.5) for r, e in zip(records, offsets, strict=True)], max_atoms=8)
    assert table.frames == 4
    assert table["energy"].mean == pytest.approx(-0.7 / 4)
    assert table["energy"].unit == "eV/atom"
    assert table["energy_no_offset"].mean == pytest.approx(0.0, abs=1e-12)
    assert table["energy_no_offset"].mae == pytest.approx((0.3 + 3 * 0.1) / 16)
    assert table["energy_relative"].rmse == pytest.approx(0.1)
    assert (table["forces"].rmse, table["forces"].mae) == (pytest.approx(0.5), pytest.approx(0.5))
    assert table["forces"].count == 4 * 4 * 3
    assert table["stress"].rmse < 1e-12
    assert ErrorTable.from_dict(table.as_dict()) == table
    assert "eV/Å" in str(table)


def test_nothing_to_compare() -> None:
    bare = [replace(record, labels={}) for record in copper(2, seed=7)]
    with pytest.raises(GroundstateError, match="E-LABEL-MISSING"):
        evaluate_errors(lennard_jones(), bare)


def test_a_prediction_that_is_no_number() -> None:
    bad = copper(1, seed=7)[0]
    table = {**bad.labels, "forces": torch.full((4, 3), torch.nan, dtype=torch.float64)}
    with pytest.raises(GroundstateError, match="E-RESULT-NOT-FINITE"):
        evaluate_errors(lennard_jones(), [replace(bad, labels=table)])
