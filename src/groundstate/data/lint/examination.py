"""All checks over one data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms import GroundstateError
from groundstate.atoms.elements import symbols
from groundstate.data.lint.against_model import Predictions, check_against_model
from groundstate.data.lint.distances import check_distances
from groundstate.data.lint.duplicates import check_duplicates, check_leaks_between
from groundstate.data.lint.energies import check_energies
from groundstate.data.lint.finding import SEVERITIES, Checked, Finding
from groundstate.data.lint.forces import check_forces
from groundstate.data.lint.frames import Frames
from groundstate.data.lint.outliers import LARGEST_FORCE, check_outliers, largest_forces
from groundstate.data.lint.steps import steps_of
from groundstate.data.lint.stress import check_stress
from groundstate.data.lint.theories import check_theories
from groundstate.data.lint.unreadable import check_reading
from groundstate.data.record import Record
from groundstate.data.reference_energies import ReferenceFit, fits_by_theory, residual_energy

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Examination:
    """What was checked, and every finding, the worst first. `frames` of a finding index `records`."""

    records: tuple[Record, ...]
    checks: tuple[Checked, ...]
    references: Mapping[str, ReferenceFit]

    @property
    def excluded(self) -> tuple[int, ...]:
        """Records with forces above 50 eV/Å: the default list of exclusions."""
        return tuple(np.flatnonzero(np.nan_to_num(largest_forces(Frames(self.records))) > LARGEST_FORCE).tolist())

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, by severity, then as the checks ran."""
        found = [finding for check in self.checks for finding in check.findings]
        return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))

    def where(self, index: int) -> str:
        """`file:frame` of a record."""
        return Frames(self.records).where(index)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "frames": len(self.records),
            "checks": [check.as_dict() for check in self.checks],
            "references": {theory or "not stated": _fit(fit) for theory, fit in self.references.items()},
            "excluded": [self.where(i) for i in self.excluded],
            "findings": [
                {**finding.as_dict(), "where": [self.where(i) for i in finding.frames]} for finding in self.findings
            ],
        }


def _fit(fit: ReferenceFit) -> dict[str, Any]:
    named = dict(zip(symbols(sorted(fit.energies)), (fit.energies[z] for z in sorted(fit.energies)), strict=True))
    return {
        "energies_eV": named,
        "rmse_before_eV_per_atom": fit.rmse_before,
        "rmse_after_eV_per_atom": fit.rmse_after,
        "mean_residual_eV_per_atom": fit.mean_residual,
        "note": fit.note,
    }


def _silent(done: int, total: int, name: str) -> None:
    """No progress."""


def examine(
    records: Sequence[Record],
    against: Sequence[Record] = (),
    *,
    refused: Sequence[GroundstateError] = (),
    other_energies: Mapping[str, NDArray[np.float64]] | None = None,
    predictions: Predictions | None = None,
    model: str = "",
    progress: Progress = _silent,
) -> Examination:
    """Run every check over the records, and look for leaks between them and `against`.

    refused: what reading the files refused (`data.survey`) · other_energies: energies of the records under other keys
    than the one read (eV, [record], NaN where absent) · predictions: what the potential called `model` says of them.
    """
    if not records:
        return Examination((), (check_reading(refused, 0),), {})
    frames, other = Frames.of(records), Frames.of(against)
    fits = fits_by_theory(records)
    residual = _residuals(frames, fits)
    steps = cache(lambda: steps_of(frames))
    checks: Mapping[str, Callable[[], Checked]] = {
        "reading": lambda: check_reading(refused, len(frames)),
        "duplicates": lambda: check_duplicates(frames),
        "leakage": lambda: check_leaks_between(frames, other),
        "forces": lambda: check_forces(frames, steps()),
        "stress": lambda: check_stress(frames, steps()),
        "levels of theory": lambda: check_theories(frames, steps(), residual),
        "energies": lambda: check_energies(frames, other_energies or {}),
        "outliers": lambda: check_outliers(frames, residual),
        "distances": lambda: check_distances(frames),
    }
    done = []
    for index, (name, check) in enumerate(checks.items()):
        progress(index, len(checks), name)
        done.append(check())
    if predictions is not None:
        done += check_against_model(frames, predictions, model)
    progress(len(checks), len(checks), "")
    return Examination(frames.records, tuple(done), fits)


def _residuals(frames: Frames, fits: Mapping[str, ReferenceFit]) -> NDArray[np.float64]:
    """Energies less references of their theory, eV/atom, [record]; NaN without an energy."""
    return np.array(
        [
            residual_energy(record, fits["" if record.theory is None else record.theory.id].energies)
            if "energy" in record.labels
            else np.nan
            for record in frames.records
        ]
    )
