"""Energies of another kind or unit: free energies, enthalpies, energies per atom, Hartree.

Checked: tests/data/lint/test_energies.py
"""

import re
from collections.abc import Mapping

import numpy as np

from groundstate.atoms.units import GIGAPASCAL, HARTREE
from groundstate.data.lint.finding import Checked, Finding, not_checked
from groundstate.data.lint.frames import Floats, Frames, groups
from groundstate.data.lint.slopes import KCAL, KJ

CHECK = "kind and unit of the energy"
_ENERGY_LIKE = re.compile(r"energy|enthalpy|toten|etot|^e_?0$|^pv$", re.I)
_LIKE = 0.05
"""Of the energy; what differs by more is an energy of something else: of a part, or of bonding."""
_SAME = 1e-6
"""eV/atom; energies printed twice."""
_HARTREE_SCALE = {1.0: "Hartree", 2.0: "Rydberg", HARTREE / KCAL: "kcal/mol", HARTREE / KJ: "kJ/mol"}


def check_energies(frames: Frames, others: Mapping[str, Floats]) -> Checked:
    """others: energies of the same frames under other keys [frame], eV; energy-like tags are looked at as well."""
    known = np.isfinite(frames.energy)
    if not known.any():
        return not_checked(CHECK, "no frame has an energy")
    keys = sorted({record.provenance.keys.get("energy", "energy") for record in frames.records})
    beside = {**_tagged(frames), **others}
    findings = [_beside(frames, key, values) for key, values in beside.items()]
    findings += [_named(frames), _per_atom(frames), _unit(frames)]
    said = f"read from {', '.join(keys)}" + (f"; beside it {', '.join(beside)}" if beside else "")
    return Checked(CHECK, said, findings=tuple(finding for finding in findings if finding is not None))


def _tagged(frames: Frames) -> dict[str, Floats]:
    """Tags that look like energies, as numbers."""
    keys = {key for record in frames.records for key in record.provenance.tags if _ENERGY_LIKE.search(key)}
    found = {}
    for key in sorted(keys):
        values = np.array([_number(text) for text in frames.tag(key)])
        if np.isfinite(values).any():
            found[key] = values
    return found


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else np.nan
    except ValueError:
        return np.nan


def _beside(frames: Frames, key: str, values: Floats) -> Finding | None:
    """Another energy in the same frames: what it differs by from the one that was read."""
    both = np.isfinite(values) & np.isfinite(frames.energy)
    apart = (values - frames.energy)[both] / frames.n_atoms[both]
    enthalpy = "enthalpy" in key.lower()
    size = np.median(np.abs(frames.energy[both] / frames.n_atoms[both])) if both.any() else 0.0
    if not both.any() or (not enthalpy and np.median(np.abs(apart)) > _LIKE * size):
        return None
    numbers = {
        "median_eV_per_atom": float(np.median(apart)),
        "largest_eV_per_atom": float(apart[np.abs(apart).argmax()]),
    }
    if enthalpy:
        return _enthalpy(frames, key, values, both, numbers)
    if np.abs(apart).max() < _SAME:
        return None
    free = "free" in key.lower()
    what = "free energies differ by the electronic entropy" if free else "only one of them is the label"
    return Finding(
        "L-ENERGY-FREE" if free else "L-ENERGY-OTHER",
        "note",
        f"'{key}' is in {int(both.sum())} frames beside the energy that was read and differs from it by"
        f" {numbers['median_eV_per_atom']:+.3g} eV/atom (median), {numbers['largest_eV_per_atom']:+.3g} at most",
        tuple(np.flatnonzero(both)[np.argsort(-np.abs(apart))][:20].tolist()),
        numbers=numbers,
        why=f"{what}; forces of a metal are those of the free energy" if free else what,
        fix=f"keys={{'energy': '{key}'}} reads it instead; never mix the two",
    )


def _enthalpy(frames: Frames, key: str, values: Floats, both: np.ndarray, numbers: dict[str, float]) -> Finding | None:
    pressure = (values - frames.energy)[both] / frames.volume[both] / GIGAPASCAL
    if np.abs(values - frames.energy)[both].max() < 1e-4:
        stated = _pressures(frames)
        under = bool(np.isfinite(stated).any() and np.nanmax(np.abs(stated)) > 0)
        return Finding(
            "L-ENTHALPY",
            "error" if under else "note",
            f"the energy that was read equals '{key}'"
            + (" although a pressure other than 0 is stated" if under else "; no pressure is stated beside it"),
            tuple(np.flatnonzero(both)[:20].tolist()),
            why="an enthalpy E + pV is no potential energy: its minimum is at another volume",
            fix="write the energy without pV",
        )
    if not np.isfinite(pressure).any():
        return None
    return Finding(
        "L-ENTHALPY-BESIDE",
        "note",
        f"'{key}' stands beside the energy and was not read: it differs by pV at {np.nanmedian(pressure):.3g} GPa",
        numbers={**numbers, "median_pressure_GPa": float(np.nanmedian(pressure))},
        why="the energy is the label",
    )


def _pressures(frames: Frames) -> Floats:
    """The pressure that tags state, in whatever unit; NaN where none does."""
    keys = {
        key for record in frames.records for key in record.provenance.tags if re.search(r"press|pstress", key, re.I)
    }
    values = [np.array([_number(text) for text in frames.tag(key)]) for key in sorted(keys)]
    return values[0] if values else np.full(len(frames), np.nan)


def _named(frames: Frames) -> Finding | None:
    """The key that was read says that it is not the plain energy."""
    keys = [record.provenance.keys.get("energy", "") for record in frames.records]
    free = tuple(i for i, key in enumerate(keys) if "free" in key.lower())
    if not free:
        return None
    mixed = len(free) < sum(map(bool, keys))
    return Finding(
        "L-ENERGY-FREE",
        "error" if mixed else "note",
        f"the energy was read from '{keys[free[0]]}' in {len(free)} of {len(frames)} frames",
        free,
        why="free energies and their σ→0 limit differ by the electronic entropy"
        + ("" if mixed else "; here all are one kind"),
        fix="use one kind throughout" if mixed else "",
    )


def _per_atom(frames: Frames) -> Finding | None:
    """Energies that do not grow with the number of atoms at one composition."""
    votes: list[bool] = []
    for members in groups(list(zip(frames.composition, frames.theory, strict=True))).values():
        known = members[np.isfinite(frames.energy[members])]
        sizes, energies = frames.n_atoms[known], frames.energy[known]
        if len(known) > 1 and sizes.max() >= 2 * sizes.min() and np.abs(energies).min() > 0.1:
            # Of total energies the logarithm follows that of the size, of energies per atom it does not.
            total = np.ptp(np.log(np.abs(energies / sizes)))
            votes.append(bool(np.ptp(np.log(np.abs(energies))) < 0.3 * total))
    if not votes or np.mean(votes) < 0.5:
        return None
    return Finding(
        "L-ENERGY-PER-ATOM",
        "error",
        f"energies do not grow with the number of atoms in {sum(votes)} of {len(votes)} compositions of several sizes:"
        " they look like energies per atom",
        why="the label is the energy of the whole structure",
        fix="multiply by the number of atoms",
    )


def _unit(frames: Frames) -> Finding | None:
    """Total energies of all electrons in another unit: E ≈ −½ Z^2.39 Hartree per atom."""
    known = [i for i in np.flatnonzero(np.isfinite(frames.energy)) if frames.energy[i] != 0]
    expected = np.array([-0.5 * (frames.numbers[i].astype(float) ** 2.39).sum() for i in known])
    if not known:
        return None
    ratio = frames.energy[known] / expected
    middle = float(np.median(ratio))
    unit = next((name for scale, name in _HARTREE_SCALE.items() if abs(middle / scale - 1) < 0.08), "")
    heavy = max(int(frames.numbers[i].max()) for i in known) >= 6
    if not unit or not heavy or np.median(np.abs(ratio / middle - 1)) > 0.05:
        return None
    return Finding(
        "L-ENERGY-UNIT",
        "error",
        f"energies are {middle:.4g} times −½ Z^2.39 per atom, as total energies of all electrons are in {unit}",
        numbers={"ratio": middle},
        why="labels are read in eV",
        fix=f"convert from {unit} to eV",
    )
