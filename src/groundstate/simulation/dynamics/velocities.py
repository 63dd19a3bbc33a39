"""Velocities in equilibrium, and the temperature they stand for. Velocities are in √(eV/amu), masses in amu."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import System
from groundstate.atoms.units import BOLTZMANN

THERMOSTAT_STREAM, INITIAL_STREAM, RESCALING_STREAM, CELL_STREAM = 0, 1, 2, 3


def generators(seeds: Int[Tensor, " system"], draw: int, stream: int) -> list[np.random.Generator]:
    """One generator per structure, fixed by its seed, the number of the draw and the stream, and by nothing else.

    Counter-based (Philox), so the state of the generator is the step: a batch equals its singles and a resumed run its
    uninterrupted twin. Source: Salmon et al., SC'11, doi:10.1145/2063384.2063405.
    """
    return [np.random.Generator(np.random.Philox(key=seed, counter=[0, draw, stream, 0])) for seed in seeds.tolist()]


def gaussian(system: System, seeds: Int[Tensor, " system"], draw: int, stream: int) -> Float[Tensor, "atom 3"]:
    """Standard normal numbers of each structure's own generator."""
    drawn = zip(generators(seeds, draw, stream), system.atoms_per_system.tolist(), strict=True)
    rows = [generator.standard_normal((n, 3)) for generator, n in drawn]
    return torch.from_numpy(np.concatenate(rows)).to(system.device)


def kinetic_energy(system: System, velocities: Float[Tensor, "atom 3"]) -> Float[Tensor, " system"]:
    """½ Σ m v², eV."""
    return system.sum_over_atoms(0.5 * system.masses * (velocities**2).sum(dim=1))


def temperature(kinetic: Float[Tensor, " system"], freedom: Float[Tensor, " system"]) -> Float[Tensor, " system"]:
    """2 E_kin / (f k_B), K, for f degrees of freedom."""
    return 2 * kinetic / (freedom * BOLTZMANN)


def maxwell_boltzmann(
    system: System,
    temperature_K: Float[Tensor, " system"],
    seeds: Int[Tensor, " system"],
    fixed: Bool[Tensor, " atom"],
) -> Float[Tensor, "atom 3"]:
    """Velocities drawn at each structure's temperature; 0 for fixed atoms."""
    width = (BOLTZMANN * temperature_K[system.system_index] / system.masses).sqrt()
    drawn = width[:, None] * gaussian(system, seeds, 0, INITIAL_STREAM)
    return torch.where(fixed[:, None], torch.zeros_like(drawn), drawn)


def without_drift(
    system: System, velocities: Float[Tensor, "atom 3"], fixed: Bool[Tensor, " atom"]
) -> tuple[Float[Tensor, "atom 3"], Float[Tensor, " system"]]:
    """Velocities with the total momentum removed where no atom is fixed, and the degrees of freedom left."""
    owner = system.system_index
    mass = system.sum_over_atoms(system.masses)
    drift = system.sum_over_atoms(system.masses[:, None] * velocities) / mass[:, None]
    n_fixed = system.sum_over_atoms(fixed.to(torch.float64))
    floating = n_fixed == 0
    moving = 3 * (system.atoms_per_system - n_fixed) - 3 * floating
    return velocities - (drift * floating[:, None])[owner], moving.to(torch.float64)


def without_rotation(
    system: System, velocities: Float[Tensor, "atom 3"], fixed: Bool[Tensor, " atom"]
) -> tuple[Float[Tensor, "atom 3"], Float[Tensor, " system"]]:
    """Velocities with the angular momentum about the centre of mass removed, and the degrees of freedom that takes.

    Molecules without fixed atoms only: 3, or 2 where all atoms lie on a line. Others are left as they are.
    """
    owner, masses = system.system_index, system.masses[:, None]
    centre = system.sum_over_atoms(masses * system.positions) / system.sum_over_atoms(masses)
    arms = system.positions - centre[owner]
    spin = system.sum_over_atoms(masses * torch.linalg.cross(arms, velocities))
    outer = arms[:, :, None] * arms[:, None, :]
    square = (arms**2).sum(dim=1)[:, None, None] * torch.eye(3, dtype=arms.dtype, device=arms.device)
    inertia = system.sum_over_atoms(masses[:, :, None] * (square - outer))
    free = ~system.pbc.any(dim=1) & (system.sum_over_atoms(fixed.to(torch.float64)) == 0)
    moments = torch.linalg.eigvalsh(inertia)
    axes = (moments > 1e-8 * moments.amax(dim=1, keepdim=True).clamp_min(1e-300)).sum(dim=1)
    rate = torch.einsum("sij,sj->si", torch.linalg.pinv(inertia, rtol=1e-8, hermitian=True), spin) * free[:, None]
    return velocities - torch.linalg.cross(rate[owner], arms), (axes * free).to(torch.float64)
