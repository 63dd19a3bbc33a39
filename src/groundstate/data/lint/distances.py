"""Distances that no bond has: atoms too close, a length unit that is not Å, atoms alone, cells that do not hold.

Checked: tests/data/lint/test_structures.py
"""

import numpy as np

from groundstate.atoms.elements import symbols
from groundstate.atoms.neighbours import complete_cell
from groundstate.atoms.units import BOHR
from groundstate.data.lint.finding import Checked, Finding, listed
from groundstate.data.lint.frames import REACH, Floats, Frames

CHECK = "distances"
CLOSE = 0.5
"""Of the sum of covalent radii; shorter than any bond at rest (H2 1.19, N2 0.77, O–H 1.0), reached under shock only."""
_COLLISION = 25.0
"""eV/Å"""
_NOBLE = (2, 10, 18, 36, 54, 86)
_UNITS = {1 / BOHR: "lengths are in bohr", BOHR: "lengths were converted from bohr twice", 0.1: "lengths are in nm"}
_TYPICAL = 1.07
"""Median over atoms of the nearest neighbour's distance over the sum of covalent radii; molecules 1.0, metals 1.1."""
_VACUUM = 10.0
"""Å of nothing along a period."""


def check_distances(frames: Frames) -> Checked:
    """Too close, too far, alone, and open where it should repeat."""
    nearest = [_nearest(frames, i) for i in range(len(frames))]
    typical = np.array([float(np.median(ratios)) if len(ratios) else np.nan for ratios in nearest])
    if not np.isfinite(typical).any():
        return Checked(CHECK, f"not checked: no two atoms are within {REACH:g} Å", False, tuple(_alone(frames)))
    middle = float(np.nanmedian(typical))
    findings = [_unit(typical, middle), *_close(frames), *_alone(frames), *_boundaries(frames)]
    said = f"nearest neighbours at {middle:.2f} sums of covalent radii (median over frames)"
    return Checked(CHECK, said, findings=tuple(finding for finding in findings if finding is not None))


def _nearest(frames: Frames, index: int) -> Floats:
    """For each bonding atom of a frame the shortest distance to another, over the sum of covalent radii."""
    pairs, n = frames.pairs[index], int(frames.n_atoms[index])
    shortest = np.full(n, np.inf)
    np.minimum.at(shortest, pairs.first, pairs.ratio)
    np.minimum.at(shortest, pairs.second, pairs.ratio)
    return shortest[np.isfinite(shortest) & ~np.isin(frames.numbers[index], _NOBLE)]


def _unit(typical: Floats, middle: float) -> Finding | None:
    low, high = np.nanquantile(typical, [0.1, 0.9])
    for factor, name in _UNITS.items():
        # A wrong unit moves all frames alike; stretched or compressed structures come with others.
        if 0.8 * factor < middle / _TYPICAL < 1.25 * factor and high / low < 1.6:
            return Finding(
                "L-LENGTH-UNIT",
                "warning",
                f"nearest neighbours stand at {middle:.2f} sums of covalent radii, where about {_TYPICAL:g} is usual:"
                f" it looks as if {name}",
                numbers={"ratio": middle},
                why="every distance, force and stress would be wrong by a factor",
                fix="convert positions and cell to Å",
            )
    return None


def _close(frames: Frames) -> list[Finding]:
    found: list[tuple[float, int, str]] = []
    for index, pairs in enumerate(frames.pairs):
        if len(pairs.ratio) and float(pairs.ratio.min()) < CLOSE:
            k = int(pairs.ratio.argmin())
            ends = frames.numbers[index][[pairs.first[k], pairs.second[k]]].tolist()
            name = "–".join(symbols(ends)) + f" {float(pairs.distance[k]):.3f} Å"
            found.append((float(pairs.ratio[k]), index, name))
    if not found:
        return []
    found.sort()
    # Large cations are often that close under pressure: what the forces call no collision is only told.
    pulls = [frames.forces[index] for _, index, _ in found]
    calm = all(pull is not None and np.linalg.norm(pull, axis=1).max() < _COLLISION for pull in pulls)
    return [
        Finding(
            "L-DISTANCE-SHORT",
            "note" if calm else "warning",
            f"{len(found)} frames have atoms closer than {CLOSE:g} sums of covalent radii, the closest {found[0][2]} in"
            f" frame {found[0][1]}",
            tuple(index for _, index, _ in found),
            numbers={"frames": len(found), "smallest_ratio": found[0][0]},
            why="such forces are large and pseudopotentials may overlap",
            fix="keep them if collisions are meant, else leave them out",
        )
    ]


def _alone(frames: Frames) -> list[Finding]:
    single, holding = [], []
    for index, pairs in enumerate(frames.pairs):
        n = int(frames.n_atoms[index])
        touched = np.zeros(n, dtype=bool)
        touched[pairs.first] = touched[pairs.second] = True
        if n == 1 and not touched[0]:
            single.append(index)
        elif not touched.all():
            holding.append(index)
    findings = []
    if single:
        findings.append(
            Finding(
                "L-ISOLATED-ATOM",
                "note",
                f"{len(single)} frames are one atom alone",
                tuple(single),
                why="training takes their energies as references, so that dissociation ends there",
                fix="check that they are of the same theory and in their ground state",
            )
        )
    if holding:
        findings.append(
            Finding(
                "L-ATOM-ALONE",
                "note",
                f"{len(holding)} frames hold an atom without neighbours within {REACH:g} Å",
                tuple(holding),
                why="a local model sees it as isolated, whatever its charge",
                fix=f"look at frames {listed(holding)}",
            )
        )
    return findings


def _boundaries(frames: Frames) -> list[Finding]:
    """Cells whose flags of periodicity do not go with their contents."""
    open_, vacuum = [], []
    for index in range(len(frames)):
        cell, periodic = frames.cell[index], frames.pbc[index]
        given = np.linalg.norm(cell, axis=1) > 1e-3
        if (given & ~periodic).any() and given.all() and _bonds_across(frames, index, given & ~periodic):
            open_.append(index)
        if periodic.any() and _gap(frames, index) > _VACUUM:
            vacuum.append(index)
    findings = []
    if open_:
        findings.append(
            Finding(
                "L-PBC-MISSING",
                "warning",
                f"{len(open_)} frames have a cell, are not periodic, and fill it: atoms would bond across its border",
                tuple(open_),
                why="a crystal without periods is a cluster with broken bonds",
                fix='write pbc="T T T" if these are crystals, or drop the cell',
            )
        )
    if vacuum:
        findings.append(
            Finding(
                "L-VACUUM",
                "note",
                f"{len(vacuum)} frames have more than {_VACUUM:g} Å of vacuum along a period",
                tuple(vacuum),
                why="stress there is divided by a volume that means nothing; it is a surface, a chain or a molecule",
                fix="set pbc to F along the vacuum where the calculation had none",
            )
        )
    return findings


def _bonds_across(frames: Frames, index: int, added: np.ndarray) -> bool:
    """Whether making these directions periodic gives bonds of usual length, as often as a crystal has them."""
    cell = frames.cell[index]
    if abs(np.linalg.det(cell)) < 1e-6:
        return False
    fractional = frames.positions[index] @ np.linalg.inv(cell)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    span = (fractional.max(axis=0) - fractional.min(axis=0)) * heights
    gap = heights - span
    # Of bonds across a border the component normal to it is at most a bond long; an empty box is much wider.
    return bool((added & (gap > 0.3) & (gap < 3.2)).any() and int(frames.n_atoms[index]) > 1)


def _gap(frames: Frames, index: int) -> float:
    """The widest empty layer along any period, Å."""
    cell = complete_cell(frames.records[index].system)
    inverse = np.linalg.inv(cell)
    fractional = np.sort((frames.positions[index] @ inverse) % 1.0, axis=0)
    gaps = np.concatenate([np.diff(fractional, axis=0), fractional[:1] + 1.0 - fractional[-1:]]).max(axis=0)
    return float((gaps / np.linalg.norm(inverse, axis=0))[frames.pbc[index]].max())
