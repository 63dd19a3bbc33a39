"""Labels far from all others, and labels that say nothing. Checked: tests/data/lint/test_outliers.py"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundstate.data.lint.finding import Checked, Finding, Severity, listed
from groundstate.data.lint.frames import Floats, Frames, robust_spread

LARGEST_FORCE = 50.0
"""eV/Å; frames beyond it are on the default list of exclusions."""
_FAR = 12.0
"""Robust standard deviations from the median, together with a gap: heavy tails of real data have none."""
_GAP = 0.5
"""Of the distance to the median: an outlier stands off from the rest, with nothing in between."""


@dataclass(frozen=True)
class _Measure:
    """A number per frame: its name, its unit and the smallest distance from the median that matters, in that unit."""

    name: str
    unit: str
    matters: float
    values: Floats
    severity: Severity = "warning"


def check_outliers(frames: Frames, residual: Floats) -> Checked:
    """Energies after the reference fit [frame] (eV/atom), forces, volumes and stresses far from all others."""
    check = "outliers"
    measures = [
        _Measure("energy less references", "eV/atom", 1.0, residual),
        _Measure("largest force", "eV/Å", 20.0, largest_forces(frames)),
        _Measure("volume per atom", "Å³", 20.0, frames.volume / frames.n_atoms, "note"),
        _Measure("stress", "eV/Å³", 0.3, np.linalg.norm(frames.stress, axis=(1, 2))),
    ]
    present = [measure for measure in measures if np.isfinite(measure.values).sum() >= 10]
    findings = [*_beyond(frames), *_constant(frames)]
    findings += [finding for measure in present if (finding := _standing_off(measure)) is not None]
    if not present:
        return Checked(check, "not checked: fewer than 10 frames have labels", False, tuple(findings))
    said = ", ".join(measure.name for measure in present) + f" of {len(frames)} frames"
    return Checked(check, said, findings=tuple(findings))


def largest_forces(frames: Frames) -> Floats:
    """eV/Å, [frame]; NaN without forces."""
    return np.array(
        [np.nan if one is None else float(np.linalg.norm(one, axis=1).max(initial=0.0)) for one in frames.forces]
    )


def _standing_off(measure: _Measure) -> Finding | None:
    """Frames further out than all others by a gap."""
    known = np.flatnonzero(np.isfinite(measure.values))
    values = measure.values[known]
    off = values - np.median(values)
    distance = np.abs(off)
    order = np.argsort(distance)
    spread = max(robust_spread(values), 1e-9)
    steps = np.diff(distance[order])
    # The innermost frame from which a jump as wide as half its distance leads outwards; few may stand beyond it.
    outside = distance[order][1:]
    jumps = np.flatnonzero((steps > _GAP * outside) & (outside > _FAR * spread) & (outside > measure.matters))
    jumps = jumps[len(order) - 1 - jumps <= max(1, len(order) // 20)]
    if not len(jumps):
        return None
    out = order[jumps[0] + 1 :][::-1]
    frames = tuple(known[out].tolist())
    return Finding(
        "L-OUTLIER",
        measure.severity,
        f"{measure.name} of {len(frames)} frames stands off from all others: {values[out[0]]:.4g} {measure.unit} where"
        f" the median is {np.median(values):.4g}",
        frames,
        numbers={"value": float(values[out[0]]), "median": float(np.median(values)), "spread": spread},
        why="squared errors of one such frame outweigh hundreds of others",
        fix=f"look at frames {listed(frames)}: keep them if they are meant",
    )


def _beyond(frames: Frames) -> list[Finding]:
    largest = largest_forces(frames)
    out = np.flatnonzero(np.nan_to_num(largest) > LARGEST_FORCE)
    if not len(out):
        return []
    out = out[np.argsort(-largest[out])]
    return [
        Finding(
            "L-FORCE-LARGE",
            "warning",
            f"{len(out)} frames have forces above {LARGEST_FORCE:g} eV/Å, the largest {largest[out[0]]:.4g} in frame"
            f" {out[0]}",
            tuple(out.tolist()),
            numbers={"frames": len(out), "largest_eV_per_A": float(largest[out[0]])},
            why="a few such atoms rule the loss",
            fix="leave them out: they are on the list of exclusions beside the report",
        )
    ]


def _constant(frames: Frames) -> list[Finding]:
    """Labels that are zero or one value throughout: written, not computed."""
    many = np.flatnonzero(frames.n_atoms > 2)
    zero = [i for i in many if (forces := frames.forces[i]) is not None and not forces.any()]
    findings = []
    if len(zero) > 5 and len(zero) > 0.5 * sum(frames.forces[i] is not None for i in many):
        findings.append(_empty("forces", zero))
    stressless = [i for i in many if np.isfinite(frames.stress[i]).all() and not frames.stress[i].any()]
    if len(stressless) > 5 and len(stressless) > 0.5 * np.isfinite(frames.stress[many, 0, 0]).sum():
        findings.append(_empty("stresses", stressless))
    return findings


def _empty(name: str, where: Sequence[int | np.integer]) -> Finding:
    return Finding(
        "L-LABEL-ZERO",
        "error",
        f"{name} are exactly zero in {len(where)} frames",
        tuple(int(i) for i in where),
        numbers={"frames": len(where)},
        why="a label that was not computed must be absent; zeros teach a flat surface",
        fix=f"remove the {name} from the file, or read with keys={{'{name}': None}}",
    )
