"""Pairs of nearby frames of the same atoms: the step from one to the other, and the work done along it.

For a small step Δr and strain ε the energy must change by −½(Fᵢ + Fⱼ)·Δr + ½(Vᵢσᵢ + Vⱼσⱼ):ε, exactly where it is
quadratic (the trapezoidal rule). Checked: tests/data/lint/test_derivatives.py
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms.neighbours import complete_cell
from groundstate.data.lint.frames import Floats, Frames, groups

LONGEST_STEP = 1.0
"""Å, of any atom: beyond it the nearest image and the trapezoidal rule are both in doubt."""
_LARGEST_STRAIN = 0.1
_SMALLEST_STEP = 1e-4
"""Å, root mean square; copies are another check's business."""
_NEIGHBOURS = 3
"""Steps from each frame to the ones nearest to it."""
_MOST = 2000
"""Frames of one group that are compared; of more, evenly chosen ones."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps between frames, one row each; energies and works in eV.

    first, second: frames · energy Eⱼ − Eᵢ · work −½(Fᵢ + Fⱼ)·Δr · bend ½(Fⱼ − Fᵢ)·Δr, the scale of its error ·
    stress ½(σᵢ + σⱼ), eV/Å³, and strain ε, [step, 3, 3] · mean_volume and volume Vⱼ − Vᵢ, Å³ · length: root mean square
    displacement, Å. NaN where labels are missing.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    energy: Floats
    work: Floats
    bend: Floats
    stress: Floats
    strain: Floats
    mean_volume: Floats
    volume: Floats
    length: Floats

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Steps":
        return Steps(**{name: value[chosen] for name, value in vars(self).items()})

    @property
    def strained(self) -> NDArray[np.bool_]:
        """Steps along which the cell changes."""
        return np.abs(self.strain).max(axis=(1, 2)) > 1e-6

    @property
    def strain_work(self) -> Floats:
        """V̄ σ̄:ε, eV."""
        return self.mean_volume * np.einsum("sij,sij->s", self.stress, self.strain)


def steps_of(frames: Frames) -> Steps:
    """Steps from every frame with an energy to the few frames of the same atoms and theory nearest to it."""
    keys = [
        (numbers.tobytes(), tuple(pbc), theory) if np.isfinite(energy) else None
        for numbers, pbc, theory, energy in zip(frames.numbers, frames.pbc, frames.theory, frames.energy, strict=True)
    ]
    found = [
        _within(
            frames, members if len(members) <= _MOST else members[np.linspace(0, len(members) - 1, _MOST, dtype=int)]
        )
        for key, members in groups([(i,) if key is None else key for i, key in enumerate(keys)]).items()
        if len(members) > 1
    ]
    if not found:
        none = np.zeros(0)
        tensors = np.zeros((0, 3, 3))
        whole = np.zeros(0, np.int64)
        return Steps(whole, whole, none, none, none, tensors, tensors, none, none, none)
    return Steps(**{name: np.concatenate([vars(one)[name] for one in found]) for name in vars(found[0])})


def _within(frames: Frames, members: NDArray[np.int64]) -> Steps:
    """Steps among frames of the same atoms."""
    periodic = frames.pbc[members[0]]
    positions = np.stack([frames.positions[i] for i in members])
    forces = np.stack([_forces(frames, i) for i in members.tolist()])
    if periodic.any():
        cells = np.stack([complete_cell(frames.records[i].system) for i in members])
        fractional = _unwrapped(np.linalg.solve(cells.transpose(0, 2, 1), positions.transpose(0, 2, 1)), periodic)
        fractional = fractional.transpose(0, 2, 1)
    else:
        cells = np.broadcast_to(np.eye(3), (len(members), 3, 3))
        fractional = positions - positions.mean(axis=1, keepdims=True)
        turn = _turns(fractional, fractional[:1])
        fractional, forces = fractional @ turn, forces @ turn
    first, second = _nearest(fractional @ cells.mean(axis=0), cells, bool(periodic.any()))
    step = fractional[second] - fractional[first]
    if not periodic.any():
        turn = _turns(fractional[second], fractional[first])
        step = fractional[second] @ turn - fractional[first]
        ahead = forces[second] @ turn
    else:
        ahead = forces[second]
    middle = 0.5 * (cells[first] + cells[second])
    moved = step @ middle
    strain = np.linalg.solve(middle, cells[second] - cells[first])
    strain[:, ~periodic] = 0.0
    i, j = members[first], members[second]
    steps = Steps(
        first=i,
        second=j,
        energy=frames.energy[j] - frames.energy[i],
        work=-0.5 * ((forces[first] + ahead) * moved).sum(axis=(1, 2)),
        bend=0.5 * ((ahead - forces[first]) * moved).sum(axis=(1, 2)),
        stress=0.5 * (frames.stress[i] + frames.stress[j]),
        strain=0.5 * (strain + strain.transpose(0, 2, 1)),
        mean_volume=0.5 * (frames.volume[i] + frames.volume[j]),
        volume=frames.volume[j] - frames.volume[i],
        length=np.sqrt((moved**2).sum(axis=2).mean(axis=1)),
    )
    longest = np.linalg.norm(moved, axis=2).max(axis=1)
    turned = np.abs(strain).max(axis=(1, 2))
    return steps[(longest < LONGEST_STEP) & (turned < _LARGEST_STRAIN)]


def _forces(frames: Frames, index: int) -> Floats:
    forces = frames.forces[index]
    return np.full((int(frames.n_atoms[index]), 3), np.nan) if forces is None else forces


def _unwrapped(fractional: Floats, periodic: NDArray[np.bool_]) -> Floats:
    """Fractional coordinates [frame, 3, atom] as images nearest to the first frame's, without the common drift."""
    away = fractional - fractional[:1]
    away = away - away[:, :, :1]
    for _ in range(2):
        away = np.where(periodic[None, :, None], away - np.round(away), away)
        away = away - away.mean(axis=2, keepdims=True)
    return fractional[:1] + away


def _turns(points: Floats, onto: Floats) -> Floats:
    """Rotations that lay centred points [frame, atom, 3] on others. Source: Kabsch, Acta Cryst. A 32, 922 (1976)."""
    u, _, vt = np.linalg.svd(points.transpose(0, 2, 1) @ onto)
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= np.where(sign == 0, 1.0, sign)[:, None]
    turns: Floats = u @ vt
    return turns


def _nearest(points: Floats, cells: Floats, periodic: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each unordered pair of frames once, of every frame with the few nearest to it."""
    n_frames, n_atoms = len(points), points.shape[1]
    flat = points.reshape(n_frames, -1)
    if periodic:
        flat = np.concatenate([flat, cells.reshape(n_frames, -1) * np.sqrt(n_atoms / 9.0)], axis=1)
    flat = flat - flat.mean(axis=0)
    square = (flat**2).sum(axis=1)
    distance = square[:, None] + square[None, :] - 2 * flat @ flat.T
    distance[distance < n_atoms * _SMALLEST_STEP**2] = np.inf
    np.fill_diagonal(distance, np.inf)
    found = [_lowest(distance)]
    if periodic:
        # Frames of one cell lie closest to each other; stress is told by those of another.
        one_cell = np.abs(cells[:, None] - cells[None, :]).max(axis=(2, 3)) < 1e-6
        found.append(_lowest(np.where(one_cell, np.inf, distance)))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _lowest(distance: Floats) -> NDArray[np.int64]:
    """Pairs of each frame and the few at the smallest finite distances."""
    n_frames = len(distance)
    count = min(_NEIGHBOURS, n_frames - 1)
    near = np.argpartition(distance, count - 1, axis=1)[:, :count].ravel()
    rows = np.repeat(np.arange(n_frames), count)
    return np.stack([rows, near], axis=1)[np.isfinite(distance[rows, near])]
