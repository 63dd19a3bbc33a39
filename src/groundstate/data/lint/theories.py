"""Levels of theory and codes that differ: as stated, as tagged, and as the energies betray them.

Checked: tests/data/lint/test_theories.py
"""

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from groundstate.data.lint.finding import Checked, Finding, listed, not_checked
from groundstate.data.lint.forces import relative_error
from groundstate.data.lint.frames import UNSTATED, Floats, Frames, groups, robust_spread
from groundstate.data.lint.steps import Steps

CHECK = "one level of theory"
_NAMING = re.compile(
    r"^(head|theory|level(_of_theory)?|functional|xc|method|dft|code|program|calculator|software|run_type|basis(_set)?"
    r"|pseudo(potential)?s?|hubbard.*|dispersion)$",
    re.I,
)
_SHIFT = 0.3
"""eV/atom; subsets whose like frames differ by less may do so for physical reasons."""
_LEVELS = 1.0
"""eV/atom between two clusters of energies of one composition."""
_FEWEST = 3


def check_theories(frames: Frames, steps: Steps, residual: Floats) -> Checked:
    """One theory in word and in deed. residual: energies less fitted references [frame], eV/atom."""
    if not np.isfinite(frames.energy).any():
        return not_checked(CHECK, "no frame has an energy")
    findings = [*_stated(frames), *_tagged(frames)]
    if (levels := _levels(frames, steps)) is not None:
        findings.append(levels)
    elif (gap := _gap(frames, residual)) is not None:
        findings.append(gap)
    findings += _subsets(frames)
    known = Counter(frames.theory)
    said = (
        ", ".join(f"{name} ({count})" for name, count in known.most_common(4)) + "; energies looked at for two levels"
    )
    return Checked(CHECK, said, findings=tuple(findings))


def _stated(frames: Frames) -> list[Finding]:
    known = Counter(frames.theory)
    if len(known) < 2:
        return []
    most = known.most_common(1)[0][0]
    others = tuple(i for i, theory in enumerate(frames.theory) if theory != most)
    named = ", ".join(f"{name} ({count})" for name, count in known.most_common())
    some = UNSTATED in known and len(known) == 2
    return [
        Finding(
            "L-THEORY-MIXED",
            "warning" if some else "error",
            f"the frames state {'a level of theory in part only' if some else 'several levels of theory'}: {named}",
            others,
            why="energies of different levels have different zeros and shapes",
            fix="train on one of them, or give the model one head per level",
        )
    ]


def _tagged(frames: Frames) -> list[Finding]:
    findings = []
    for key in sorted({key for record in frames.records for key in record.provenance.tags if _NAMING.match(key)}):
        values = Counter(frames.tag(key))
        if len(values) < 2:
            continue
        most = values.most_common(1)[0][0]
        named = ", ".join(f"{value if value is not None else 'absent'} ({n})" for value, n in values.most_common(6))
        findings.append(
            Finding(
                "L-THEORY-TAG",
                "warning",
                f"'{key}' differs between frames: {named}",
                tuple(i for i, value in enumerate(frames.tag(key)) if value != most),
                why="calculations that differ in method or program do not share a zero of energy",
                fix="state theory={name: …} when reading, and keep them apart",
            )
        )
    return findings


def _levels(frames: Frames, steps: Steps) -> Finding | None:
    """Two sets of frames between which every step leaves the same energy per atom unexplained by forces."""
    fixed = steps[~steps.strained & np.isfinite(steps.work)]
    if len(fixed) < _FEWEST:
        return None
    error = relative_error(fixed)
    smooth, broken = error < 0.3, error > 0.6
    n = len(frames)
    links = fixed[smooth]
    ones = np.ones(len(links))
    _, part = connected_components(coo_array((ones, (links.first, links.second)), shape=(n, n)), directed=False)
    across = fixed[broken]
    left, right = part[across.first], part[across.second]
    offset = (across.energy - across.work) / frames.n_atoms[across.first] * np.where(left < right, 1.0, -1.0)
    sizes = np.bincount(part)
    for rows in groups((np.minimum(left, right) * n + np.maximum(left, right)).tolist()).values():
        a, b = sorted((int(left[rows[0]]), int(right[rows[0]])))
        middle = float(np.median(offset[rows]))
        if a == b or len(rows) < _FEWEST or min(sizes[a], sizes[b]) < _FEWEST:
            continue
        if robust_spread(offset[rows]) < 0.2 * abs(middle):
            fewer = int(a if sizes[a] <= sizes[b] else b)
            members = tuple(np.flatnonzero(part == fewer).tolist())
            return _two_levels(members, middle if fewer == b else -middle, "the work of forces between like frames")
    return None


def _two_levels(members: tuple[int, ...], offset: float, by: str) -> Finding:
    return Finding(
        "L-THEORY-LEVELS",
        "error",
        f"energies stand on two levels {abs(offset):.3g} eV/atom apart, by {by}; {len(members)} frames are on the"
        f" {'upper' if offset > 0 else 'lower'} one",
        members,
        numbers={"offset_eV_per_atom": offset, "frames": len(members)},
        why="two codes, functionals or sets of pseudopotentials: no model fits both",
        fix=f"find out what frames {listed(members)} were computed with; give them a theory of their own",
    )


def _gap(frames: Frames, residual: Floats) -> Finding | None:
    """Energies of one composition in two clusters far apart, although the structures look alike."""
    for members in groups(list(zip(frames.composition, frames.theory, strict=True))).values():
        known = members[np.isfinite(residual[members])]
        if len(known) < 2 * _FEWEST:
            continue
        order = known[np.argsort(residual[known])]
        values = residual[order]
        cut = int(np.diff(values).argmax()) + 1
        lower, upper = values[:cut], values[cut:]
        apart = float(upper[0] - lower[-1])
        widest = max(float(lower[-1] - lower[0]), float(upper[-1] - upper[0]))
        few = max(_FEWEST, len(values) // 20)
        if min(len(lower), len(upper)) < few or apart < _LEVELS or apart < 3 * widest:
            continue
        crowd = [float(np.median([_crowding(frames, int(i)) for i in side])) for side in (order[:cut], order[cut:])]
        if abs(np.log(max(crowd[0], 1e-9) / max(crowd[1], 1e-9))) < 0.1:
            upper_is_fewer = len(upper) <= len(lower)
            chosen = order[cut:] if upper_is_fewer else order[:cut]
            offset = float(np.median(upper) - np.median(lower)) * (1 if upper_is_fewer else -1)
            return _two_levels(tuple(chosen.tolist()), offset, f"a gap in energies of {frames.composition[chosen[0]]}")
    return None


def _subsets(frames: Frames) -> list[Finding]:
    """Files, or values of a tag, whose like frames differ by a constant energy per atom."""
    labels: dict[str, list[str | None]] = {"file": [record.provenance.file for record in frames.records]}
    for key in sorted({key for record in frames.records for key in record.provenance.tags}):
        labels[f"tag '{key}'"] = frames.tag(key)
    findings = []
    for name, values in labels.items():
        if 2 <= len(set(values)) <= 8 and (finding := _shifted(frames, name, values)) is not None:
            findings.append(finding)
    return findings


def _shifted(frames: Frames, name: str, values: list[str | None]) -> Finding | None:
    sides = groups(values)
    most = max(sides, key=lambda value: len(sides[value]))
    for value, members in sides.items():
        if value == most:
            continue
        differences = _like(frames, members, sides[most])
        if len(differences) < _FEWEST:
            continue
        middle, spread = float(np.median(differences)), robust_spread(differences)
        if abs(middle) > max(_SHIFT, 5 * spread):
            return Finding(
                "L-THEORY-SHIFT",
                "error" if abs(middle) > _LEVELS else "warning",
                f"by {name}, '{value}' stands {middle:+.3g} eV/atom from '{most}' on {len(differences)} like frames"
                f" (spread {spread:.2g})",
                tuple(members.tolist()),
                numbers={"shift_eV_per_atom": middle, "spread_eV_per_atom": spread, "frames": len(members)},
                why="another code, functional or pseudopotential, or energies of another kind or unit",
                fix="state their levels of theory and keep them apart",
            )
    return None


def _like(frames: Frames, members: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
    """Energy per atom of each frame less that of the others' likest, where composition, crowding and forces agree."""
    by_composition = groups([frames.composition[i] for i in others])
    found = []
    for i in members:
        same = by_composition.get(frames.composition[i])
        if same is None or not np.isfinite(frames.energy[i]):
            continue
        candidates = others[same]
        apart = np.array([_unlike(frames, int(i), int(j)) for j in candidates])
        best = int(apart.argmin())
        if apart[best] < 1.0:
            j = candidates[best]
            found.append(frames.energy[i] / frames.n_atoms[i] - frames.energy[j] / frames.n_atoms[j])
    values = np.array(found)
    return values[np.isfinite(values)]


def _unlike(frames: Frames, i: int, j: int) -> float:
    """How unlike two frames are: 1 at 3 % of crowding or 30 % of the root mean square force (0.1 eV/Å at least)."""
    crowd = abs(np.log(max(_crowding(frames, i), 1e-9) / max(_crowding(frames, j), 1e-9))) / 0.03
    pulls = [frames.forces[k] for k in (i, j)]
    if pulls[0] is None or pulls[1] is None:
        return float(crowd)
    a, b = (float(np.sqrt((pull**2).sum(axis=1).mean())) for pull in pulls if pull is not None)
    return float(max(crowd, abs(a - b) / max(0.3 * max(a, b), 0.1)))


def _crowding(frames: Frames, index: int) -> float:
    """Σ (R − r) over pairs within reach, per atom: how closely neighbours stand."""
    pairs = frames.pairs[index]
    return float((5.0 - pairs.distance).sum() / frames.n_atoms[index])
