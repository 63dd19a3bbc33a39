"""Copies within a data set, and leaks between two. Checked: tests/data/lint/test_duplicates.py"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from groundstate.data.lint.finding import Checked, Finding, Severity, listed, not_checked
from groundstate.data.lint.frames import REACH, UNSTATED, Frames, Pairs, groups

SAME = 0.005
"""Å; structures of which no distance differs by more are near copies. Mirror images and supercells count as copies."""
_SAME_ENERGY = 1e-3
"""eV/atom; copies whose energies differ by more contradict each other."""
_RADII = np.arange(2.5, REACH + 0.1, 0.5)
_MATERIAL = re.compile(
    r"(^|_)(material|mat|mp|traj|trajectory|task|mol|molecule|structure|parent|internal)_?ids?$", re.I
)
_TRAJECTORY = re.compile(r"(^|_)(traj|trajectory|run|md)(_?(id|name))?$", re.I)


def check_duplicates(frames: Frames) -> Checked:
    """Exact copies, near copies, and copies with different energies, within one data set."""
    check = "duplicates"
    if len(frames) < 2:
        return not_checked(check, "there is one frame")
    exact, near = _exact_copies(frames), _near_copies(frames)
    findings = _contradictions(frames, exact)
    if exact:
        findings.append(
            Finding(
                "L-DUPLICATE",
                "warning",
                f"{len(exact)} frames are copies of an earlier one (atom order and home cell aside)",
                tuple(exact),
                numbers={"copies": len(exact), "originals": len(set(exact.values()))},
                why="they weigh double in training, and a split that does not know them leaks",
                fix=f"drop frames {listed(tuple(exact))}",
            )
        )
    if near:
        findings.append(
            Finding(
                "L-NEAR-DUPLICATE",
                "note",
                f"{len(near)} frames equal an earlier one in every distance within {SAME} Å, turned, moved or not",
                tuple(near),
                numbers={"frames": len(near), "originals": len(set(near.values()))},
                why="they teach little new, and belong on one side of a split",
                fix="thin out the trajectory, or split by its tag",
            )
        )
    said = f"{len(frames)} frames by geometry: {len(exact)} copies, {len(near)} near copies"
    return Checked(check, said, findings=tuple(findings))


def check_leaks_between(frames: Frames, against: Frames) -> Checked:
    """Copies, near copies, shared materials and trajectories between a data set and the one it is kept apart from.

    Frames of the findings are those of the set that was checked.
    """
    check = "leakage against the other set"
    if len(against) == 0:
        return not_checked(check, "no other set was given (--against)")
    prints = {print_: i for i, print_ in enumerate(against.fingerprint)}
    exact = {i: prints[print_] for i, print_ in enumerate(frames.fingerprint) if print_ in prints}
    both = against.then(frames)
    near = {j - len(against): i for j, i in _near_copies(both, len(against)).items() if j - len(against) not in exact}
    findings = _shared_tags(frames, against)
    if near:
        what = f"frames have a near copy in the other set (every distance within {SAME} Å)"
        findings.insert(0, _leak("L-NEAR-LEAK", "warning", what, near, against))
    if exact:
        findings.insert(0, _leak("L-LEAK", "error", "structures are in both sets", exact, against))
    said = f"{len(frames)} frames against {len(against)}: {len(exact)} copies, {len(near)} near copies"
    return Checked(check, said, findings=tuple(findings))


def _leak(code: str, severity: Severity, what: str, copies: Mapping[int, int], against: Frames) -> Finding:
    shown = "; ".join(f"{mine} = {against.where(other)}" for mine, other in list(copies.items())[:3])
    return Finding(
        code,
        severity,
        f"{len(copies)} {what}: {shown}" + ("; …" if len(copies) > 3 else ""),
        tuple(copies),
        numbers={"frames": len(copies)},
        why="an error measured on a structure that was trained on says nothing about others",
        fix=f"drop frames {listed(tuple(copies))} from one of the sets",
    )


def _shared_tags(frames: Frames, against: Frames) -> list[Finding]:
    """Materials or trajectories, by their tags, of which both sets hold frames."""
    keys = {key for record in frames.records for key in record.provenance.tags}
    findings = []
    for key in sorted(key for key in keys if _MATERIAL.search(key) or _TRAJECTORY.search(key)):
        mine, other = frames.tag(key), against.tag(key)
        shared = ({*mine} & {*other}) - {None}
        # One value everywhere names the data set and not a part of it.
        if not shared or len({*mine, *other} - {None}) < 2:
            continue
        here = tuple(i for i, value in enumerate(mine) if value in shared)
        kind = "trajectories" if _TRAJECTORY.search(key) else "materials"
        findings.append(
            Finding(
                "L-LEAK-TAG",
                "warning",
                f"{len(shared)} {kind} ('{key}') have frames in both sets, {len(here)} of {len(frames)} frames here",
                here,
                numbers={"shared": len(shared), "frames": len(here)},
                why="neighbouring frames of one material are nearly copies: the test measures memory",
                fix=f"split by the tag: split(records, …, keep_together='{key}')",
            )
        )
    return findings


def _contradictions(frames: Frames, copies: Mapping[int, int]) -> list[Finding]:
    """Copies of one structure, at one level of theory, with different energies."""
    found: list[tuple[float, int, int]] = []
    for i, j in copies.items():
        apart = abs(frames.energy[i] / frames.n_atoms[i] - frames.energy[j] / frames.n_atoms[j])
        if apart > _SAME_ENERGY and _state(frames, i) == _state(frames, j):
            found.append((float(apart), j, i))
    if not found:
        return []
    found.sort(reverse=True)
    return [
        Finding(
            "L-DUPLICATE-ENERGY",
            "error",
            f"{len(found)} copies of a structure have another energy, by up to {found[0][0]:.3g} eV/atom"
            f" (frames {found[0][1]} and {found[0][2]})",
            tuple(i for _, _, i in found),
            numbers={"largest_eV_per_atom": found[0][0]},
            why="no model gives one structure two energies unless it is told the difference: magnetic state, charge"
            + (
                "" if frames.theory[found[0][1]] != UNSTATED else "; the levels of theory may differ and are not stated"
            ),
            fix="keep the one that is converged, or state the theory of each",
        )
    ]


def _state(frames: Frames, index: int) -> tuple[str, ...]:
    """What of a frame's calculation a model can be told."""
    system = frames.records[index].system
    told = (system.charge, system.multiplicity, system.theory)
    return (frames.theory[index], *("" if one is None else str(one.tolist()) for one in told))


def _exact_copies(frames: Frames) -> dict[int, int]:
    """Each frame that is a copy → the first of its kind."""
    first: dict[str, int] = {}
    original = [first.setdefault(print_, i) for i, print_ in enumerate(frames.fingerprint)]
    return {i: j for i, j in enumerate(original) if i != j}


def _near_copies(frames: Frames, start: int = 0) -> dict[int, int]:
    """Each frame with a near, not exact, copy among the earlier ones → that one.

    start: where given, only copies of the frames before it among those from it on.
    """
    found: dict[int, int] = {}
    for members in groups(frames.composition).values():
        if len(members) < 2:
            continue
        candidates = np.sort(members[_candidates([frames.pairs[i] for i in members], frames.n_atoms[members])], axis=1)
        for i, j in candidates[np.lexsort(candidates.T)].tolist():
            crosses = start == 0 or i < start <= j
            if crosses and j not in found and frames.fingerprint[i] != frames.fingerprint[j] and _equal(frames, i, j):
                found[j] = i
    return found


def _candidates(pairs: Sequence[Pairs], n_atoms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of frames that may be near copies, found without comparing all with all.

    Per atom, Σ max(R − r, 0) over pairs changes by at most SAME × the pairs closer than R: frames further apart in any
    of these sums are no near copies.
    """
    inside = [np.maximum(_RADII[:, None] - one.distance[None, :], 0.0) for one in pairs]
    sums = np.array([one.sum(axis=1) for one in inside]) / n_atoms[:, None]
    counts = np.array([(one > 0).sum(axis=1) for one in inside]) / n_atoms[:, None]
    tree = cKDTree(sums / (SAME * (counts.max(axis=0) + 1.0)))
    return np.asarray(tree.query_pairs(1.0, p=np.inf, output_type="ndarray"), dtype=np.int64).reshape(-1, 2)


def _equal(frames: Frames, i: int, j: int) -> bool:
    """Whether all distances agree, pair of elements by pair of elements."""
    reach = max(frames.reach(i), frames.reach(j))
    mine, other = (frames.sorted_distances(k, reach) for k in (i, j))
    if mine.keys() != other.keys():
        return False
    n = int(np.lcm(frames.n_atoms[i], frames.n_atoms[j]))
    for kind, distances in mine.items():
        a, b = np.repeat(distances, n // frames.n_atoms[i]), np.repeat(other[kind], n // frames.n_atoms[j])
        common = min(len(a), len(b))
        beyond = np.concatenate([a[common:], b[common:]])
        if np.abs(a[:common] - b[:common]).max(initial=0.0) > SAME or (beyond < reach - SAME).any():
            return False
    return True
