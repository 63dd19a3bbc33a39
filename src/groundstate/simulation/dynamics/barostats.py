"""Constant pressure: the cell strained by what its pressure lacks, stochastically or by Newton's law.

Both sample ∫ dV e^(−pV/kT) Q(N, V, T) with the flat measure dV, over all shapes with `cell='full'`. As the total
momentum is zero, one particle does not count: an ideal gas has p(V) ∝ V^(N−1) e^(−pV/kT).
Checked: tests/simulation/test_barostats.py
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms.units import FEMTOSECOND, GIGAPASCAL
from groundstate.simulation.dynamics.chains import on_atoms, pace, propagate, strain_freedom
from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.state import MDState, compute, kick
from groundstate.simulation.dynamics.velocities import CELL_STREAM, generators
from groundstate.simulation.dynamics.verlet import Step, rescaled
from groundstate.simulation.engine import Forces


def cell_rescaling(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """Half a kick, the cell strained, velocity Verlet's other three parts, the velocities rescaled.

    h → h e^ε, r → r e^ε, v → v e^(−ε), which keeps phase space volume, with
    ε = (κ/3τ)(P − p) dt + √(2 kTκ/(3Vτ)) dW and P the internal pressure tensor: overdamped motion in detailed balance
    under the invariant measure of the cells, so κ and τ set the pace only. `isotropic` keeps the trace of ε; the noise
    has orthonormal components in the space of symmetric tensors.
    Source: Bernetti & Bussi, J. Chem. Phys. 153, 114107 (2020) for the trace; the tensor by the same argument (compare
    Del Tatto et al., Appl. Sci. 12, 1139 (2022)).
    """
    time = config.timestep_fs * FEMTOSECOND
    kicked = replace(state, velocities=kick(state, state.velocities, 0.5 * time))
    strain = _random_strain(kicked, config)
    system, rows = kicked.system, kicked.system.system_index
    velocities = _times(kicked.velocities, symmetric_exp(-strain)[rows])
    grow = symmetric_exp(strain)
    positions = _times(system.positions, grow[rows]) + time * velocities
    moved = replace(kicked, system=system.replace(positions=positions, cell=system.cell @ grow))
    moved, errors = compute(moved, engine, strained=True)
    return rescaled(replace(moved, velocities=kick(moved, velocities, 0.5 * time)), config), errors


def swinging(state: MDState, config: MDConfig) -> MDState:
    """The state with a strain rate of `martyna_tobias_klein` drawn at the temperature, instead of a cell at rest."""
    width = (state.thermal / _inertia(state, config)).sqrt()[:, None, None]
    rate = allowed(width * _random_symmetric(state), config)
    return replace(state, bath=replace(state.bath, strain_rate=rate))


def _random_strain(state: MDState, config: MDConfig) -> Float[Tensor, "system 3 3"]:
    volume = state.system.volume[:, None, None]
    lacking = allowed(_imbalance(state), config) / volume
    rate = config.compressibility_per_GPa / GIGAPASCAL / 3 * config.timestep_fs / config.barostat_fs
    tensor = allowed(_random_symmetric(state), config)
    return rate * lacking + (2 * state.thermal[:, None, None] * rate / volume).sqrt() * tensor


def _random_symmetric(state: MDState) -> Float[Tensor, "system 3 3"]:
    """Isotropic under rotations: variance 1 on the diagonal and ½ beside it."""
    noise = [g.standard_normal((3, 3)) for g in generators(state.seed, state.step, CELL_STREAM)]
    drawn = torch.from_numpy(np.stack(noise)).to(state.energy.device)
    return 0.5 * (drawn + drawn.transpose(1, 2))


def martyna_tobias_klein(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """Chains, half a kick of cell and atoms, drift of both, new forces, and the same in reverse.

    dr/dt = v + ω r · dv/dt = F/m − (ω + tr ω/f) v · dh/dt = h ω · W dω/dt = V(P − p) + (2K/f) 1, with ω symmetric, so
    that the cell does not turn, and W = (f + 3) kT τ²/3: a cell of bulk modulus B swings with the period
    2πτ √((f + 3) kT/9BV), in solids a tenth of τ. Conserved: E + pV + ½ W tr ω² + the chains.
    Source: Martyna, Tobias & Klein, J. Chem. Phys. 101, 4177 (1994); splitting: Tuckerman et al., J. Phys. A 39, 5629
    (2006).
    """
    time = config.timestep_fs * FEMTOSECOND
    state = _push_cell(on_atoms(_on_cell(state, config), config), config, 0.5 * time)
    state = replace(state, velocities=_push_atoms(state, 0.5 * time))
    rate, system = state.bath.strain_rate, state.system
    grow, half = symmetric_exp(time * rate), _symmetric(0.5 * time * rate, _drift)
    rows = system.system_index
    positions = _times(system.positions, grow[rows]) + time * _times(state.velocities, half[rows])
    moved = replace(state, system=system.replace(positions=positions, cell=system.cell @ grow))
    moved, errors = compute(moved, engine, strained=True)
    moved = replace(moved, velocities=_push_atoms(moved, 0.5 * time))
    return _on_cell(on_atoms(_push_cell(moved, config, 0.5 * time), config), config), errors


def cell_energy(state: MDState, config: MDConfig) -> Float[Tensor, " system"]:
    """pV + ½ W tr ω², eV."""
    return state.pressure * state.system.volume + 0.5 * _double_kinetic(state, config)


def allowed(tensor: Float[Tensor, "system 3 3"], config: MDConfig) -> Float[Tensor, "system 3 3"]:
    """The part of a symmetric tensor along which the cell may strain."""
    if config.cell == "full":
        return tensor
    identity = torch.eye(3, dtype=tensor.dtype, device=tensor.device)
    return tensor.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * identity


def symmetric_exp(tensor: Float[Tensor, "system 3 3"]) -> Float[Tensor, "system 3 3"]:
    """Exponential of symmetric matrices."""
    return _symmetric(tensor, torch.exp)


def _symmetric(tensor: Tensor, function: Callable[[Tensor], Tensor]) -> Float[Tensor, "system 3 3"]:
    values, axes = torch.linalg.eigh(tensor)
    return (axes * function(values)[:, None, :]) @ axes.transpose(1, 2)


def _drift(half: Tensor) -> Tensor:
    """e^x sinh(x)/x: what a constant velocity adds while space grows by e^(2x)."""
    small = half.abs() < 1e-4
    safe = torch.where(small, torch.ones_like(half), half)
    return half.exp() * torch.where(small, 1 + half**2 / 6, torch.sinh(safe) / safe)


def _imbalance(state: MDState) -> Float[Tensor, "system 3 3"]:
    """V(P − p), eV, symmetric."""
    identity = torch.eye(3, dtype=torch.float64, device=state.energy.device)
    outward = state.expansion
    return 0.5 * (outward + outward.transpose(1, 2)) - (state.pressure * state.system.volume)[:, None, None] * identity


def _inertia(state: MDState, config: MDConfig) -> Float[Tensor, " system"]:
    return (state.freedom + 3) * state.thermal * (config.barostat_fs * FEMTOSECOND) ** 2 / 3


def _double_kinetic(state: MDState, config: MDConfig) -> Float[Tensor, " system"]:
    return _inertia(state, config) * (state.bath.strain_rate**2).sum(dim=(1, 2))


def _on_cell(state: MDState, config: MDConfig) -> MDState:
    """Half a time step of the chain that acts on the strain rate."""
    freedom = torch.full_like(state.freedom, strain_freedom(config))
    half = 0.5 * config.timestep_fs * FEMTOSECOND
    double = _double_kinetic(state, config)
    chain, factor = propagate(state.bath.cell_chain, double, freedom, state.thermal, pace(config), half)
    rate = state.bath.strain_rate * factor[:, None, None]
    return replace(state, bath=replace(state.bath, cell_chain=chain, strain_rate=rate))


def _push_cell(state: MDState, config: MDConfig, time: float) -> MDState:
    identity = torch.eye(3, dtype=torch.float64, device=state.energy.device)
    push = _imbalance(state) + (2 * state.kinetic / state.freedom)[:, None, None] * identity
    change = allowed(push, config) / _inertia(state, config)[:, None, None]
    return replace(state, bath=replace(state.bath, strain_rate=state.bath.strain_rate + time * change))


def _push_atoms(state: MDState, time: float) -> Float[Tensor, "atom 3"]:
    """Exact solution of dv/dt = F/m − A v over a time, A = ω + tr ω/f."""
    rate = state.bath.strain_rate
    identity = torch.eye(3, dtype=torch.float64, device=rate.device)
    share = rate.diagonal(dim1=1, dim2=2).sum(dim=1) / state.freedom
    damping = -time * (rate + share[:, None, None] * identity)
    rows = state.system.system_index
    acceleration = state.forces / state.system.masses[:, None]
    kept = _times(state.velocities, symmetric_exp(damping)[rows])
    return kept + time * _times(acceleration, _symmetric(0.5 * damping, _drift)[rows])


def _times(rows: Float[Tensor, "atom 3"], matrices: Float[Tensor, "atom 3 3"]) -> Float[Tensor, "atom 3"]:
    """Each row times its matrix."""
    return (rows[:, None, :] @ matrices)[:, 0]
