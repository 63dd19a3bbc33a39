"""Curvature of the energy at a stationary point: how many directions lead down."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import System
from groundstate.atoms.units import ELEMENTARY_CHARGE_C, ATOMIC_MASS_kg
from groundstate.potentials import Potential
from groundstate.simulation.evaluation import computed

NEGATIVE = 0.02
"""eV/Å² below zero from which a curvature counts as negative; between, it is noise of forces and differences."""
FREE = 0.2
"""eV/Å² below which a rigid motion counts as one that changes no energy."""
WAVENUMBER = (ELEMENTARY_CHARGE_C * 1e20 / ATOMIC_MASS_kg) ** 0.5 / (2 * torch.pi * 2.99792458e10)
"""cm⁻¹ of a curvature of 1 eV/Å²/amu."""


@dataclass(frozen=True, eq=False)
class Modes:
    """Modes of the free atoms, softest first.

    curvature eV/Å² · wavenumber_per_cm of vibration, imaginary ones negative · softest: direction of the first
    curvature, length 1 · negative: how many curvatures lie below −`NEGATIVE`
    """

    curvature: Float[Tensor, " mode"]
    wavenumber_per_cm: Float[Tensor, " mode"]
    softest: Float[Tensor, "atom 3"]
    negative: int


def lowest_modes(
    potential: Potential,
    single: System,
    fixed: Bool[Tensor, " atom"],
    *,
    displacement: float = 0.01,
    max_atoms_per_batch: int | None = 2048,
) -> Modes:
    """Modes of one structure with some atoms held fixed, from the Hessian of the free ones.

    Central differences of forces over ±`displacement` Å, all copies in batches. Rigid translations of a structure
    without fixed atoms, and rotations of one without periods, are projected out.
    Checked: tests/simulation/test_modes.py (autograd Hessian of `potentials.derive`)
    """
    free = (~fixed).nonzero()[:, 0]
    n = 3 * len(free)
    steps = torch.zeros(n, single.n_atoms, 3, dtype=torch.float64, device=single.device)
    steps[torch.arange(n), free.repeat_interleave(3), torch.arange(3).repeat(len(free))] = displacement
    copies = [single.replace(positions=single.positions + sign * step) for step in steps for sign in (1.0, -1.0)]
    forces = computed(System.batch(copies), potential, max_atoms_per_batch, ("forces",))["forces"]
    forces = forces.reshape(n, 2, single.n_atoms, 3)[:, :, free].reshape(n, 2, n)
    matrix = -(forces[:, 0] - forces[:, 1]) / (2 * displacement)
    matrix = 0.5 * (matrix + matrix.T)
    rigid = _rigid_motions(single, fixed)
    # An external potential knows where an atom is: only motions that indeed cost nothing are taken out.
    rigid = rigid[:, (matrix @ rigid).norm(dim=0) < FREE]
    keep = torch.eye(n, dtype=torch.float64, device=single.device) - rigid @ rigid.T
    curvature, directions = torch.linalg.eigh(keep @ matrix @ keep)
    real = (rigid.T @ directions).norm(dim=0) < 0.5
    curvature, directions = curvature[real], directions[:, real]
    softest = torch.zeros_like(single.positions)
    softest[free] = directions[:, 0].reshape(-1, 3)
    return Modes(curvature, _wavenumbers(matrix, single, free, rigid), softest, int((curvature < -NEGATIVE).sum()))


def _rigid_motions(single: System, fixed: Bool[Tensor, " atom"]) -> Float[Tensor, "row motion"]:
    """Orthonormal motions that change no energy."""
    n = single.n_atoms
    if bool(fixed.any()):
        return torch.zeros(3 * int((~fixed).sum()), 0, dtype=torch.float64, device=single.device)
    axes = torch.eye(3, dtype=torch.float64, device=single.device)
    motions = [axis.expand(n, 3).reshape(-1) for axis in axes]
    if not bool(single.pbc.any()):
        centred = single.positions - single.positions.mean(dim=0)
        motions += [torch.linalg.cross(axis.expand(n, 3), centred).reshape(-1) for axis in axes]
    left, singular, _ = torch.linalg.svd(torch.stack(motions, dim=1), full_matrices=False)
    return left[:, singular > 1e-6 * singular.max()]


def _wavenumbers(matrix: Tensor, single: System, free: Tensor, rigid: Tensor) -> Float[Tensor, " mode"]:
    root = single.masses[free].sqrt().repeat_interleave(3)
    weighted = matrix / (root[:, None] * root[None, :])
    still, _ = torch.linalg.qr(root[:, None] * rigid)
    keep = torch.eye(len(root), dtype=torch.float64, device=root.device) - still @ still.T
    squares, directions = torch.linalg.eigh(keep @ weighted @ keep)
    squares = squares[(still.T @ directions).norm(dim=0) < 0.5]
    return squares.sign() * squares.abs().sqrt() * WAVENUMBER
