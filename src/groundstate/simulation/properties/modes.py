"""Imaginary modes: which are noise of the acoustic branches, which are instabilities, and where those lead."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from groundstate.atoms import OptionError, RunError, System
from groundstate.potentials import Potential
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.properties.lattice import (
    PER_CM,
    Lattice,
    commensurate_points,
    frequencies_of,
    primitive_cell,
)
from groundstate.simulation.properties.spectrum import Bands
from groundstate.simulation.properties.symmetry import symmetry_of
from groundstate.simulation.relaxation import RelaxConfig, RelaxResult, relax

Kind = Literal["acoustic noise", "instability", "interpolated"]
LARGEST_DENOMINATOR = 12


@dataclass(frozen=True, eq=False)
class ImaginaryMode:
    """One imaginary mode.

    q in the primitive reciprocal cell · branch counted from the lowest · frequency_THz negative
    kind   "instability": at a wave vector that fits the supercell, where the frequency is computed;
           "interpolated": between those, to be confirmed in a supercell that holds q;
           "acoustic noise": one of the three lowest branches nearer to Γ than any computed point, all of which are
           stable, or within the acoustic modes at Γ itself
    eigenvector of the dynamical matrix, in the phase convention of `lattice`
    """

    q: tuple[float, float, float]
    branch: int
    frequency_THz: float
    kind: Kind
    eigenvector: Complex[Tensor, "atom 3"]

    def __str__(self) -> str:
        at = ", ".join(f"{x:.4g}" for x in self.q)
        return f"{self.frequency_THz:.3g} THz ({self.frequency_THz * PER_CM:.3g} cm⁻¹) at q = ({at}), {self.kind}"


def imaginary_modes(phonon: Any, bands: Bands, tolerance_THz: float) -> tuple[ImaginaryMode, ...]:
    """Those of the computed wave vectors and, of the interpolated ones, the lowest per segment, near Γ and beyond."""
    computed = commensurate_points(phonon)
    at_computed, vectors = frequencies_of(phonon, computed)
    found = []
    unstable_acoustic = False
    for q, row, vector in zip(computed, at_computed, vectors, strict=True):
        at_gamma = bool(q.abs().max() < 1e-9)
        for branch in (row < -tolerance_THz).nonzero()[:, 0].tolist():
            uniform = _uniform(vector[branch], phonon) if at_gamma else 0.0
            kind: Kind = "acoustic noise" if uniform > 0.5 else "instability"
            unstable_acoustic |= kind == "instability" and branch < 3
            found.append(ImaginaryMode(_triple(q), branch, float(row[branch]), kind, vector[branch]))
    reciprocal = torch.from_numpy(np.linalg.inv(np.array(phonon.primitive.cell)).T)
    nearest = _nearest(computed, reciprocal)
    close = torch.linalg.vector_norm(_folded(bands.q) @ reciprocal, dim=1) < nearest
    between = torch.tensor([not _fits(q, computed) for q in bands.q])
    for first, last in bands.segments:
        inside = (torch.arange(len(close)) >= first) & (torch.arange(len(close)) < last)
        for near, rows in ((True, inside & between & close), (False, inside & between & ~close)):
            if not bool(rows.any()):
                continue
            values, q_points = bands.frequencies_THz[rows], bands.q[rows]
            row, branch = divmod(int(values.argmin()), values.shape[1])
            if float(values[row, branch]) >= -tolerance_THz:
                continue
            kind = "acoustic noise" if near and branch < 3 and not unstable_acoustic else "interpolated"
            _, own = frequencies_of(phonon, q_points[row : row + 1])
            mode = ImaginaryMode(_triple(q_points[row]), branch, float(values[row, branch]), kind, own[0, branch])
            found.append(mode)
    return tuple(sorted(found, key=lambda mode: mode.frequency_THz))


@dataclass(frozen=True, eq=False)
class Followed:
    """Where an imaginary mode leads: the relaxed structure of lower symmetry, and what it gains.

    energy_gain eV per atom, positive when the new structure is lower · amplitude Å of the displacement that led there
    """

    system: System
    energy_gain: float
    amplitude: float
    space_group: str
    parent_space_group: str
    relaxed: RelaxResult


def follow_mode(
    lattice: Lattice,
    mode: ImaginaryMode,
    potential: Potential,
    *,
    amplitudes: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4),
    cell: str = "full",
    force_tolerance: float = 1e-3,
    max_steps: int = 2000,
    symmetry_tolerance: float = 1e-2,
    progress: Callback = silent,
) -> Followed:
    """Displace the crystal along an imaginary mode by several amplitudes (Å, of the atom that moves furthest), relax
    all of them in one batch, and return the lowest.

    The smallest supercell that holds q is used. Raises RunError E-MODE-STABLE when nothing lower than the parent is
    found: then the mode is noise, or the well is too shallow for the force tolerance.
    """
    parent = supercell_of_mode(lattice, mode.q)
    moved = [displaced(lattice, mode, amplitude) for amplitude in amplitudes]
    config = RelaxConfig(cell=cell, force_tolerance=force_tolerance, max_steps=max_steps)
    results = relax(System.batch([parent, *moved]), potential, config, progress=progress)
    reference, *ended = results
    energies = {result.index: result.energy for result in ended if result.converged and result.energy is not None}
    if reference.energy is None or not energies:
        raise RunError(
            "E-MODE-STABLE",
            "no displaced structure relaxed to a minimum",
            fix="allow more steps, smaller amplitudes or a larger force_tolerance",
        )
    lowest = min(energies, key=lambda index: energies[index])
    best, gain = results[lowest], (reference.energy - energies[lowest]) / parent.n_atoms
    if gain <= 1e-7:
        raise RunError(
            "E-MODE-STABLE",
            f"nothing lower than the parent was found along the mode (energies differ by {1e3 * gain:.2g} meV/atom)",
            why=f"the mode at {mode} may be noise",
            fix="repeat the phonons with a larger supercell or another displacement, or give other amplitudes",
        )
    return Followed(
        system=best.system,
        energy_gain=gain,
        amplitude=amplitudes[best.index - 1],
        space_group=symmetry_of(best.system, symmetry_tolerance).international,
        parent_space_group=symmetry_of(lattice.cell, symmetry_tolerance).international,
        relaxed=best,
    )


def supercell_of_mode(lattice: Lattice, q: tuple[float, float, float]) -> System:
    """The smallest repeats of the primitive cell that hold a wave of wave vector q."""
    return _repeated(primitive_cell(lattice), _repeats(q))[0]


def displaced(lattice: Lattice, mode: ImaginaryMode, amplitude: float) -> System:
    """That supercell with the mode frozen in; `amplitude` Å is the displacement of the atom that moves furthest."""
    primitive = primitive_cell(lattice)
    crystal, fractional, origin = _repeated(primitive, _repeats(mode.q))
    phase = torch.exp(2j * torch.pi * (fractional @ torch.tensor(mode.q, dtype=torch.float64)))
    wave = mode.eigenvector[origin] * phase[:, None] / crystal.masses.sqrt()[:, None]
    # The phase of an eigenvector is free; the one that makes the wave most real displaces most.
    turn = torch.exp(-0.5j * torch.angle((wave * wave).sum()))
    shift = (wave * turn).real
    shift = shift * (amplitude / torch.linalg.vector_norm(shift, dim=1).max())
    return crystal.replace(positions=crystal.positions + shift)


def _repeats(q: tuple[float, float, float]) -> tuple[int, int, int]:
    sizes = []
    for component in q:
        fraction = Fraction(component).limit_denominator(LARGEST_DENOMINATOR)
        if abs(float(fraction) - component) > 1e-4:
            raise OptionError(
                "E-MODE-SUPERCELL",
                f"no supercell of up to {LARGEST_DENOMINATOR} cells a side holds q = {q}",
                fix="follow a mode at a wave vector of small fractions, e.g. the nearest one that is computed",
            )
        sizes.append(fraction.denominator)
    return sizes[0], sizes[1], sizes[2]


def _repeated(primitive: System, n: tuple[int, int, int]) -> tuple[System, Float[Tensor, "atom 3"], Tensor]:
    """Repeats, with each atom's fractional position in the primitive cell and the atom it repeats."""
    steps = torch.cartesian_prod(*[torch.arange(k, dtype=torch.float64) for k in n]).reshape(-1, 3)
    cell = primitive.cell[0]
    positions = (primitive.positions[None] + (steps @ cell)[:, None]).reshape(-1, 3)
    origin = torch.arange(primitive.n_atoms).repeat(len(steps))
    crystal = System.single(
        positions,
        primitive.numbers[origin],
        cell=torch.tensor(n, dtype=torch.float64)[:, None] * cell,
        pbc=True,
        masses=primitive.masses[origin],
    )
    return crystal, positions @ torch.linalg.inv(cell), origin


def _uniform(vector: Complex[Tensor, "atom 3"], phonon: Any) -> float:
    """How much of a mode at Γ is a translation of the whole crystal, 0 … 1."""
    weights = torch.from_numpy(np.sqrt(np.array(phonon.primitive.masses)))
    along = (vector * weights[:, None]).sum(dim=0)
    return float((along.abs() ** 2).sum() / (weights**2).sum())


def _folded(q: Tensor) -> Tensor:
    return q - q.round()


def _fits(q: Tensor, computed: Tensor) -> bool:
    return bool((_folded(q - computed).abs().amax(dim=1) < 1e-6).any())


def _nearest(computed: Tensor, reciprocal: Tensor) -> float:
    """Length of the shortest computed wave vector beside Γ, 1/Å without 2π; infinite where there is none."""
    shifts = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * 3)
    lengths = torch.linalg.vector_norm((_folded(computed)[:, None] + shifts) @ reciprocal, dim=-1).amin(dim=1)
    beside = lengths[lengths > 1e-9]
    return float(beside.min()) if beside.numel() else float("inf")


def _triple(q: Tensor) -> tuple[float, float, float]:
    a, b, c = q.tolist()
    return a, b, c
