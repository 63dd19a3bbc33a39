"""Two levels of theory in one set are told by word, by tag, and by the energies alone."""

from dataclasses import replace

import pytest
import torch

from groundstate.atoms import LevelOfTheory
from groundstate.data import Record
from groundstate.data.lint import Finding, examine
from labelled_crystals import labelled, rattled, relabelled, shuffled

NEAR = labelled(rattled(24, seed=21, amplitude=0.03))
FAR = labelled(shuffled(rattled(30, seed=22, amplitude=0.08, numbers=(29, 79))))


def found(records: list[Record]) -> dict[str, Finding]:
    """Findings by code."""
    return {finding.code: finding for finding in examine(records).findings}


def shifted(records: list[Record], per_atom: float, frames: range) -> list[Record]:
    """Some frames with another zero of energy."""
    other = relabelled(records, "energy", lambda r, energy: energy + per_atom * r.n_atoms)
    return [other[i] if i in frames else record for i, record in enumerate(records)]


def test_one_theory_passes() -> None:
    assert found(NEAR) == found(FAR) == {}


def test_stated_theories() -> None:
    stated = [replace(r, theory=LevelOfTheory("PBE" if i < 20 else "r2SCAN")) for i, r in enumerate(NEAR)]
    finding = found(stated)["L-THEORY-MIXED"]
    assert (finding.severity, finding.frames) == ("error", (20, 21, 22, 23))
    part = [replace(r, theory=LevelOfTheory("PBE")) if i < 20 else r for i, r in enumerate(NEAR)]
    assert found(part)["L-THEORY-MIXED"].severity == "warning"


def test_tagged_codes() -> None:
    tagged = [
        replace(r, provenance=replace(r.provenance, tags={"code": "VASP" if i else "GPAW"})) for i, r in enumerate(NEAR)
    ]
    assert found(tagged)["L-THEORY-TAG"].frames == (0,)


def test_two_levels_by_the_work_of_forces() -> None:
    """0.15 eV/atom would hide in the spread of any real set; the work of the forces shows it."""
    finding = found(shifted(NEAR, 0.15, range(14, 24)))["L-THEORY-LEVELS"]
    assert set(finding.frames) == set(range(14, 24))
    assert finding.numbers["offset_eV_per_atom"] == pytest.approx(0.15, rel=0.05)


def test_two_levels_by_a_gap() -> None:
    finding = found(shifted(FAR, -4.0, range(0, 9)))["L-THEORY-LEVELS"]
    assert set(finding.frames) == set(range(9))
    assert finding.numbers["offset_eV_per_atom"] == pytest.approx(-4.0, rel=0.1)


def test_files_of_two_codes() -> None:
    files = [
        replace(r, provenance=replace(r.provenance, file="a.xyz" if i < 15 else "b.xyz"))
        for i, r in enumerate(shifted(FAR, 0.8, range(15, 30)))
    ]
    finding = found(files)["L-THEORY-SHIFT"]
    assert "'b.xyz' stands +0.8" in finding.what
    assert finding.frames == tuple(range(15, 30))


def test_references_are_fitted_per_theory() -> None:
    stated = [replace(r, theory=LevelOfTheory("PBE" if i < 15 else "LDA")) for i, r in enumerate(FAR)]
    fits = examine(shifted(stated, 5.0, range(15, 30))).references
    assert len(fits) == 2
    for fit in fits.values():
        assert fit.rmse_after < 0.1 < fit.rmse_before
    first, second = (torch.tensor(list(fit.energies.values())).mean() for _, fit in sorted(fits.items()))
    assert float(first - second) == pytest.approx(5.0, abs=0.2)  # LDA sorts before PBE
