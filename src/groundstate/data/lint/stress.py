"""Is stress (1/V) dE/dε? Told from the data alone, by steps between frames that differ in their cells.

Checked: tests/data/lint/test_derivatives.py
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms.units import GIGAPASCAL
from groundstate.data.lint.finding import Checked, Finding, not_checked
from groundstate.data.lint.forces import ASK, NOISE, force_slope
from groundstate.data.lint.frames import Floats, Frames
from groundstate.data.lint.slopes import STRESS_FACTORS, TIGHT, Slope, meaning, slope
from groundstate.data.lint.steps import Steps

CHECK = "stress is (1/V) dE/dε"
_FEWEST = 5
_SMALL_STRAIN = 0.03
_SHEAR = 0.2
"""Share of a step's work that shear must do for the order of shear components to be told."""
_EXCHANGED = 0.08
"""What right components leave unexplained of the energies of sheared cells stays below it."""
_PRESSURE = 1.0
"""GPa; a smaller constant pressure between energies and stresses is an incomplete basis (Pulay stress)."""
ORDERS: Mapping[tuple[int, int, int], str] = {
    # labelled components that stand where yz, xz, xy belong
    (0, 1, 2): "",
    (1, 0, 2): "yz and xz exchanged",
    (2, 1, 0): "yz and xy exchanged",
    (0, 2, 1): "xz and xy exchanged",
    (2, 0, 1): "xy yz xz where yz xz xy belong",
    (1, 2, 0): "VASP's order xx yy zz xy yz zx read as xx yy zz yz xz xy",
}
OFF_DIAGONAL = ([1, 0, 0], [2, 2, 1])


def check_stress(frames: Frames, steps: Steps) -> Checked:
    """Sign, unit and order of the components of stress, and whether the energy is an enthalpy."""
    if not np.isfinite(frames.stress).any():
        return not_checked(CHECK, "no frame has stress")
    told = _told(steps)
    if len(told) < _FEWEST:
        return not_checked(
            CHECK, f"{len(told)} steps between frames of the same atoms that differ in their cells; {ASK}"
        )
    rest = told.energy - np.nan_to_num(told.work)
    found, virial = _normal(told, rest)
    said = f"energy against work of stress: slope {found}"
    points = tuple(zip(told.strain_work.tolist(), rest.tolist(), strict=True))
    pressed = _enthalpy(told, rest, min(found.scatter, virial.scatter), said_right=found.is_one)
    if not found.is_one and pressed is None:
        if not (found.is_known or virial.is_known):
            return _unrelated(told, found, said)
        return Checked(CHECK, said, findings=(_scaled(found, virial),), points=points)
    findings = (_exchanged(told, rest), pressed)
    return Checked(CHECK, said, findings=tuple(one for one in findings if one is not None), points=points)


def _told(steps: Steps) -> Steps:
    """Strained steps with stress, whose forces are known to be right or did no work."""
    forces = force_slope(steps)
    still = np.abs(np.nan_to_num(steps.work)) + np.abs(np.nan_to_num(steps.bend)) < NOISE
    still |= steps.length < 1e-3
    usable = still | np.isfinite(steps.work) if forces.n < _FEWEST or forces.is_one else still
    told = steps[steps.strained & np.isfinite(steps.strain_work) & usable]
    return told[np.abs(told.energy) + np.abs(told.strain_work) > NOISE]


def _normal(told: Steps, rest: Floats) -> tuple[Slope, Slope]:
    """The slope over the work of stress as labelled, and as if it were a virial; sheared steps for want of others."""
    plain = ~_sheared(told)
    if plain.sum() < _FEWEST:
        plain = np.ones(len(told), dtype=bool)
    work, scale = told.strain_work[plain], np.abs(np.nan_to_num(told.bend[plain]))
    volume = told.mean_volume[plain]
    return slope(work, rest[plain], scale, NOISE), slope(work / volume, rest[plain], scale / volume, NOISE)


def _diagonal(told: Steps) -> Floats:
    """Work of the normal components, eV."""
    work: Floats = told.mean_volume * np.einsum("sii,sii->s", told.stress, told.strain)
    return work


def _shears(told: Steps) -> dict[tuple[int, int, int], Floats]:
    """Work of the shear components in every order in which they may have been written, eV."""
    stress, strain = told.stress[:, *OFF_DIAGONAL], told.strain[:, *OFF_DIAGONAL]
    return {order: 2 * told.mean_volume * (stress[:, list(order)] * strain).sum(axis=1) for order in ORDERS}


def _sheared(told: Steps) -> NDArray[np.bool_]:
    """Steps in which shear does a good part of the work, in whatever order it is labelled."""
    largest = np.abs(np.array(list(_shears(told).values()))).max(axis=0)
    whole = largest + np.abs(_diagonal(told)) + np.abs(np.nan_to_num(told.bend))
    sheared: NDArray[np.bool_] = largest > _SHEAR * whole
    return sheared


def _scaled(found: Slope, virial: Slope) -> Finding:
    known = meaning(found.value, STRESS_FACTORS)
    if virial.scatter < 1.2 * found.scatter and 0.9 < abs(virial.value) < 1.11:
        what = "stress is labelled as V·σ" if virial.value > 0 else "the labels are a virial, −V·σ"
        what += f" (or {known})" if known else ""
        return Finding(
            "L-STRESS-SCALE",
            "error",
            f"{what}: the energy changes by {virial.value:.3g} times label:ε, without the volume",
            numbers={"slope": virial.value, "steps": virial.n},
            why="a model would be taught a pressure that depends on the size of the cell",
            fix="read it with stress_convention='virial'" if virial.value < 0 else "divide by the volume",
        )
    flipped = known == "the opposite sign"
    vasp = found.value < 0 and "kbar" in known
    return Finding(
        "L-STRESS-SIGN" if flipped else "L-STRESS-SCALE",
        "error",
        f"stress is not (1/V) dE/dε: the energy changes by {found.value:.4g} times its work"
        + (f", as with {known}" if known else ", which is no factor of units known here"),
        numbers={"slope": found.value, "low": found.low, "high": found.high, "steps": found.n},
        why="cells would relax the wrong way or by the wrong amount",
        fix="read it with stress_convention='kbar-vasp'"
        if vasp
        else "negate it: stress is positive in tension"
        if flipped
        else "state stress_convention when reading, or convert to eV/Å³",
    )


def _unrelated(told: Steps, found: Slope, said: str) -> Checked:
    if float(np.median(np.abs(told.strain).max(axis=(1, 2)))) > _SMALL_STRAIN or np.median(told.length) > 0.1:
        return not_checked(CHECK, f"the nearest frames with other cells are too far apart; {ASK}")
    finding = Finding(
        "L-STRESS-UNRELATED",
        "error",
        "stress has nothing to do with the energies: its work explains none of their change with the cell",
        numbers={"slope": found.value, "scatter": found.scatter, "steps": found.n},
        why="it belongs to other frames, or its components stand in another order",
        fix="check how it was written, or leave it out with keys={'stress': None}",
    )
    return Checked(CHECK, said, findings=(finding,))


def _exchanged(told: Steps, rest: Floats) -> Finding | None:
    """Shear components in another order: the one that explains the energies of sheared cells best."""
    sheared = _sheared(told)
    if sheared.sum() < _FEWEST:
        return None
    left = {
        order: _explained(rest - _diagonal(told), own, np.nan_to_num(told.bend), sheared)
        for order, own in _shears(told).items()
    }
    best = min(left, key=left.__getitem__)
    if left[0, 1, 2] < _EXCHANGED or left[best] > 0.4 * left[0, 1, 2]:
        return None
    return Finding(
        "L-STRESS-ORDER",
        "error",
        f"shear components of stress stand in another order: {ORDERS[best]}. So the energies of sheared cells agree to"
        f" {100 * left[best]:.0f} %, as labelled to {100 * left[0, 1, 2]:.0f} %",
        tuple(np.unique(np.concatenate([told.first[sheared], told.second[sheared]])).tolist()),
        numbers={"sheared_steps": int(sheared.sum()), "scatter": left[0, 1, 2], "scatter_reordered": left[best]},
        why="shear would be learned in the wrong plane",
        fix="write nine components, or state stress_convention='kbar-vasp' or 'ase'",
    )


def _explained(rest: Floats, work: Floats, bend: Floats, chosen: NDArray[np.bool_]) -> float:
    """Median of what the work leaves over the sum of both."""
    scale = np.abs(rest) + np.abs(work) + np.abs(bend) + NOISE
    return float(np.median((np.abs(rest - work) / scale)[chosen]))


def _enthalpy(told: Steps, rest: Floats, without: float, *, said_right: bool) -> Finding | None:
    """A pressure at which E is rather E + pV: what is left after the work of stress goes as the volume.

    without: the scatter that no pressure leaves · said_right: the slope of stress is 1 as labelled.
    """
    left = rest - told.strain_work
    moved = (np.abs(told.volume) > 1e-3 * told.mean_volume) & ~_sheared(told)
    if moved.sum() < _FEWEST:
        return None
    volume, left = told.volume[moved], left[moved]
    found = slope(volume, left, np.zeros(len(left)), NOISE)
    pressure = found.value / GIGAPASCAL
    after = np.abs(left - found.value * volume)
    scatter = float(np.median(after / (np.abs(rest[moved]) + np.abs(told.strain_work[moved]) + NOISE)))
    explains = np.median(after) < 0.3 * np.median(np.abs(left)) if said_right else scatter < min(TIGHT, 0.5 * without)
    if found.low * found.high <= 0 or abs(pressure) < _PRESSURE or not explains:
        return None
    return Finding(
        "L-ENTHALPY",
        "warning",
        f"energies and stresses differ by a constant pressure of {pressure:.3g} GPa: the energy looks like an enthalpy"
        " E + pV, or the basis is too small for the cell (Pulay stress)",
        numbers={"pressure_GPa": pressure, "low_GPa": found.low / GIGAPASCAL, "high_GPa": found.high / GIGAPASCAL},
        why="an enthalpy is no potential energy: its minimum is at another volume",
        fix="read the energy and not the enthalpy; else raise the plane-wave cutoff",
    )
