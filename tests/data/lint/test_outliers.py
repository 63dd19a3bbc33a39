"""Labels that stand off from all others, and labels that were never computed."""

import torch

from groundstate.data import Record
from groundstate.data.lint import Finding, examine
from labelled_crystals import labelled, rattled, relabelled, shuffled

RECORDS = labelled(shuffled(rattled(30, seed=11, amplitude=0.08)))
"""Without steps from one to another: what is found here is found by the labels alone."""


def found(records: list[Record]) -> dict[str, Finding]:
    """Findings by code."""
    return {finding.code: finding for finding in examine(records).findings}


def spoilt(name: str, frame: int, factor: float, add: float = 0.0) -> list[Record]:
    changed = relabelled([RECORDS[frame]], name, lambda _, label: factor * label + add)
    return [*RECORDS[:frame], *changed, *RECORDS[frame + 1 :]]


def test_nothing_stands_off() -> None:
    assert found(RECORDS) == {}


def test_an_energy_far_from_the_others() -> None:
    finding = found(spoilt("energy", 4, 1.0, add=-120.0))["L-OUTLIER"]
    assert finding.frames == (4,)
    assert "energy less references" in finding.what


def test_large_forces_are_on_the_list_of_exclusions() -> None:
    records = spoilt("forces", 9, 60.0)
    examination = examine(records)
    codes = {finding.code: finding for finding in examination.findings}
    assert codes["L-FORCE-LARGE"].frames == examination.excluded == (9,)
    assert codes["L-FORCE-LARGE"].numbers["largest_eV_per_A"] > 50
    assert "largest force" in codes["L-OUTLIER"].what


def test_a_stress_far_from_the_others() -> None:
    assert "stress" in found(spoilt("stress", 2, 200.0))["L-OUTLIER"].what


def test_labels_that_are_zero() -> None:
    codes = found(relabelled(RECORDS, "forces", lambda _, forces: torch.zeros_like(forces)))
    assert codes["L-LABEL-ZERO"].severity == "error"
    assert len(codes["L-LABEL-ZERO"].frames) == len(RECORDS)
