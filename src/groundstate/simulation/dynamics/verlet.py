"""Constant energy by velocity Verlet, and the stochastic baths that are put into it."""

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import GroundstateError
from groundstate.atoms.units import FEMTOSECOND
from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.state import MDState, compute, kick, scaled
from groundstate.simulation.dynamics.velocities import RESCALING_STREAM, THERMOSTAT_STREAM, gaussian, generators
from groundstate.simulation.engine import Forces

Step = tuple[MDState, dict[int, GroundstateError]]


def verlet(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """Constant energy: kick, drift, new forces, kick. The energy error is O(Δt²) and does not grow.

    Source: Swope et al., J. Chem. Phys. 76, 637 (1982). Checked: tests/simulation/test_md.py (Δt² law)
    """
    time = config.timestep_fs * FEMTOSECOND
    velocities = kick(state, state.velocities, 0.5 * time)
    moved = replace(state, system=state.system.replace(positions=state.system.positions + time * velocities))
    moved, errors = compute(moved, engine, strained=config.facts.barostat)
    return replace(moved, velocities=kick(moved, velocities, 0.5 * time)), errors


def langevin(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """BAOAB: the bath acts in the middle of the drift, and averages over positions are exact for harmonic motion.

    Source: Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34. Checked: tests/simulation/test_md.py (χ² of the
    kinetic energy, harmonic widths)
    """
    time = config.timestep_fs * FEMTOSECOND
    velocities = kick(state, state.velocities, 0.5 * time)
    positions = state.system.positions + 0.5 * time * velocities
    velocities = _friction_and_noise(state, velocities, config)
    positions = positions + 0.5 * time * velocities
    moved, errors = compute(replace(state, system=state.system.replace(positions=positions)), engine)
    return replace(moved, velocities=kick(moved, velocities, 0.5 * time)), errors


def csvr(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """Velocity Verlet, then stochastic rescaling of all velocities. Checked: tests/simulation/test_ensembles.py"""
    moved, errors = verlet(state, engine, config)
    return rescaled(moved, config), errors


def rescaled(state: MDState, config: MDConfig) -> MDState:
    """The kinetic energy moved along its own stochastic equation, whose stationary law is the canonical one.

    dK = (K̄ − K) dt/τ + 2 √(K K̄/(f τ)) dW, K̄ = f kT/2, solved exactly over one step; velocities keep their directions,
    so diffusion is hardly disturbed. `heat` adds up what the bath gave: E − heat is conserved as well as Verlet can.
    Source: Bussi, Donadio & Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7.
    """
    keep = math.exp(-config.timestep_fs / config.thermostat_fs)
    first, others = _rescaling_noise(state)
    kinetic = state.kinetic
    ratio = 0.5 * state.thermal / kinetic.clamp_min(1e-300)
    square = keep + (1 - keep) * ratio * (first**2 + others) + 2 * first * (keep * (1 - keep) * ratio).sqrt()
    sign = torch.where(first + (keep / (1 - keep) / ratio).sqrt() < 0, -1.0, 1.0)
    factor = torch.where(kinetic > 0, sign * square.clamp_min(0.0).sqrt(), 1.0)
    heat = state.bath.heat + kinetic * (factor**2 - 1)
    return replace(state, velocities=scaled(state, factor), bath=replace(state.bath, heat=heat))


def _rescaling_noise(state: MDState) -> tuple[Float[Tensor, " system"], Float[Tensor, " system"]]:
    """A normal number and the sum of the squares of f − 1 more, of each structure's own seed and step."""
    rows = []
    for generator, freedom in zip(
        generators(state.seed, state.step, RESCALING_STREAM), state.freedom.tolist(), strict=True
    ):
        rows.append((generator.standard_normal(), 2 * generator.standard_gamma(max(freedom - 1, 0) / 2)))
    first, others = torch.from_numpy(np.array(rows)).to(state.energy.device).unbind(1)
    return first, others


def _friction_and_noise(state: MDState, velocities: Float[Tensor, "atom 3"], config: MDConfig) -> Tensor:
    """Exact solution of dv = −γv dt + √(2γkT/m) dW over one time step."""
    system = state.system
    keep = math.exp(-config.friction_per_ps * config.timestep_fs * 1e-3)
    width = (state.thermal[system.system_index] / system.masses * (1 - keep**2)).sqrt()
    noise = gaussian(system, state.seed, state.step, THERMOSTAT_STREAM)
    kicked = keep * velocities + width[:, None] * noise
    return torch.where(state.fixed[:, None], torch.zeros_like(kicked), kicked)
