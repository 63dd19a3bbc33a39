"""Are forces −dE/dx? Told from the data alone, by steps between nearby frames of the same atoms.

Checked: tests/data/lint/test_derivatives.py
"""

import numpy as np
from numpy.typing import NDArray

from groundstate.data.lint.finding import Checked, Finding, listed, not_checked
from groundstate.data.lint.frames import Floats, Frames
from groundstate.data.lint.slopes import FORCE_FACTORS, TIGHT, Slope, meaning, slope
from groundstate.data.lint.steps import Steps

CHECK = "forces are −dE/dx"
ASK = "--with MODEL compares with a model"
NOISE = 2e-3
"""eV; energies of one structure printed and converged differently."""
_FEWEST = 5
_LITTLE = 0.1
_STRAIGHT, _ENOUGH = 0.3, 30
"""Steps whose energy changes by more than this share of the bend leave a sharper slope, where there are so many."""
_SHORT = 0.1
"""Å; so small a step between real frames is nearly quadratic, and its work must be the change of the energy."""
_WRONG = 0.5
"""Of the scale of a step; anharmonicity stays below it for all steps of a frame, a wrong label does not."""


def of_forces(steps: Steps) -> Steps:
    """Steps at a fixed cell; where there are too few, those along which stress does next to no work."""
    fixed = ~steps.strained & np.isfinite(steps.work)
    if fixed.sum() < _FEWEST:
        with np.errstate(invalid="ignore"):
            fixed |= np.abs(steps.strain_work) < _LITTLE * np.abs(steps.work)
    return steps[fixed]


def force_slope(steps: Steps) -> Slope:
    """Change of the energy against the work of the forces."""
    fixed = of_forces(steps)
    told = fixed[np.abs(fixed.energy) + np.abs(fixed.work) > NOISE]
    straight = told[np.abs(told.energy) > _STRAIGHT * np.maximum(np.abs(told.work), np.abs(told.bend))]
    told = straight if len(straight) >= _ENOUGH else told
    return slope(told.work, told.energy, np.abs(told.bend), NOISE)


def relative_error(steps: Steps) -> Floats:
    """What the work of forces leaves of the change of the energy, over the scale of the step: 0 right, 1 unrelated."""
    scale = np.abs(steps.energy) + np.abs(steps.work) + np.abs(steps.bend) + NOISE
    error: Floats = np.abs(steps.energy - steps.work) / scale
    return error


def check_forces(frames: Frames, steps: Steps) -> Checked:
    """The slope over all steps, and the frames that alone disagree with all their neighbours."""
    if not any(forces is not None for forces in frames.forces) or not np.isfinite(frames.energy).any():
        return not_checked(CHECK, "no frame has energy and forces")
    found = force_slope(steps)
    if found.n < _FEWEST:
        return not_checked(CHECK, f"{found.n} steps between frames of the same atoms and cell; {ASK}")
    said = f"energy against work of forces: slope {found}"
    fixed = of_forces(steps)
    points = tuple(zip(fixed.work.tolist(), fixed.energy.tolist(), strict=True))
    if found.is_one:
        return Checked(CHECK, said, findings=tuple(_disagreeing(frames, steps)), points=points)
    length = float(np.median(fixed.length))
    if found.is_known:
        return Checked(CHECK, said, findings=(_scaled(frames, found),), points=points)
    if length < _SHORT and found.n >= 2 * _FEWEST:
        return Checked(CHECK, said, findings=(_unrelated(found, length),), points=points)
    return not_checked(CHECK, f"the nearest frames are too far apart (median step {length:.2f} Å per atom); {ASK}")


def _scaled(frames: Frames, found: Slope) -> Finding:
    n_atoms = float(np.median(frames.n_atoms))
    per_atom = {1 / n_atoms: "energies per atom"} if n_atoms > 2 else {}
    known = meaning(found.value, {**FORCE_FACTORS, **per_atom})
    flipped = known == "the opposite sign"
    return Finding(
        "L-FORCE-SIGN" if flipped else "L-FORCE-SCALE",
        "error",
        f"forces are not −dE/dx: the energy changes by {found.value:.4g} times their work"
        + (f", as with {known}" if known else ", which is no factor of units known here"),
        numbers={"slope": found.value, "low": found.low, "high": found.high, "steps": found.n},
        why="a model would be taught two surfaces at once, and fit neither",
        fix="write −dE/dx: negate the forces (a gradient was written)" if flipped else "convert to eV and eV/Å",
    )


def _unrelated(found: Slope, length: float) -> Finding:
    return Finding(
        "L-FORCE-UNRELATED",
        "error",
        f"forces have nothing to do with the energies: over steps of {length:.3f} Å per atom their work explains none"
        " of the change",
        numbers={"slope": found.value, "scatter": found.scatter, "steps": found.n},
        why="they belong to other frames, to atoms in another order, or were not converged",
        fix="check the order of frames and atoms where the file was written",
    )


def _disagreeing(frames: Frames, steps: Steps) -> list[Finding]:
    """Frames whose every step is wrong, told apart by what would mend them."""
    fixed = of_forces(steps)
    rest = fixed.energy - fixed.work
    off = relative_error(fixed)
    wrong = off > max(_WRONG, 6 * float(np.median(off)))
    energies: dict[int, float] = {}
    flipped: list[int] = []
    others: list[int] = []
    trusted = np.setdiff1d(np.concatenate([fixed.first[~wrong], fixed.second[~wrong]]), [])
    for frame in np.unique(np.concatenate([fixed.first[wrong], fixed.second[wrong]])):
        own = (fixed.first == frame) | (fixed.second == frame)
        if frame in trusted or own.sum() < 2:
            continue
        kind, offset = _mended(fixed, own, int(frame), rest)
        if kind == "energy":
            energies[int(frame)] = offset
        else:
            (flipped if kind == "sign" else others).append(int(frame))
    findings = []
    if energies:
        findings.append(_misplaced(frames, energies))
    if flipped:
        findings.append(
            Finding(
                "L-FORCE-SIGN",
                "error",
                f"forces of {len(flipped)} frames have the opposite sign: with it turned, the energies agree",
                tuple(flipped),
                why="a model would be pulled both ways",
                fix=f"negate the forces of frames {listed(flipped)}, or leave those out",
            )
        )
    if others:
        findings.append(
            Finding(
                "L-FORCE-FRAME",
                "warning",
                f"forces of {len(others)} frames do not lead to the energies of the frames around them",
                tuple(others),
                why="an unconverged calculation, or labels of another structure",
                fix=f"look at frames {listed(others)}, compute them again or leave them out",
            )
        )
    return findings


def _mended(steps: Steps, own: NDArray[np.bool_], frame: int, rest: Floats) -> tuple[str, float]:
    """What explains one frame's steps: its energy being off by a constant, or its forces having the opposite sign."""
    mine = steps[own]
    starts = mine.first == frame
    offsets = np.where(starts, -rest[own], rest[own])
    middle = float(np.median(offsets))
    # −½(∓Fᵢ ± Fⱼ)·Δr of a frame with turned forces is the bend, with the sign of the end it stands at.
    turned = np.where(starts, -mine.bend, mine.bend)
    scale = np.abs(mine.energy) + np.abs(mine.work) + np.abs(mine.bend) + NOISE
    with_turned = float(np.median(np.abs(mine.energy - turned) / scale))
    with_offset = float(np.median(np.abs(offsets - middle) / scale))
    if min(with_turned, with_offset) > TIGHT:
        return "unknown", 0.0
    return ("sign", 0.0) if with_turned < with_offset else ("energy", middle)


def _misplaced(frames: Frames, energies: dict[int, float]) -> Finding:
    order = sorted(energies, key=lambda frame: -abs(energies[frame]))
    per_atom = [energies[frame] / int(frames.n_atoms[frame]) for frame in order]
    return Finding(
        "L-ENERGY-FRAME",
        "warning",
        f"energies of {len(order)} frames are off the surface that forces around them describe, by"
        f" {min(per_atom):+.3g} to {max(per_atom):+.3g} eV/atom",
        tuple(order),
        numbers={"largest_eV": energies[order[0]], "median_eV_per_atom": float(np.median(per_atom))},
        why="another level of theory, an unconverged calculation, or another electronic state",
        fix=f"look at frames {listed(order)}; give them a theory of their own, or leave them out",
    )
