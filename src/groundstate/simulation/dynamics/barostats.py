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
from groundstate.simulation.dynamics.state import MDState, compute
from groundstate.simulation.dynamics.velocities import CELL_STREAM, generators
from groundstate.simulation.dynamics.verlet import Step, csvr
from groundstate.simulation.engine import Forces
from groundstate.simulation.states import choose

LARGEST = 0.05
"""Strain a pressure may cause in one move of `cell_rescaling`."""


def cell_rescaling(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """Every `barostat_every` steps a random strain, accepted or not; between them `csvr`."""
    if state.step % config.barostat_every == 0:
        state = _strained_or_not(state, engine, config)
    return csvr(state, engine, config)


def _strained_or_not(state: MDState, engine: Forces, config: MDConfig) -> MDState:
    """Stochastic cell rescaling over a time t, made exact by Metropolis and Hastings; one evaluation.

    h → h e^ε, r → r e^ε, v → v e^(−ε), with ε = (κt/3τ)(P − p) + √(2 kTκt/(3Vτ)) ξ, P the internal pressure tensor and
    ξ with orthonormal components in the space of symmetric tensors, of which `isotropic` keeps the trace: overdamped
    motion in detailed balance under the invariant measure of the cells, dV/V when only the volume moves. Given ε, the
    move keeps that measure and the volume of phase space, and −ε leads back; so it is accepted with the probability
    min(1, w(x', −ε)/w(x, ε)), w(x, ε) = V e^(−(E + K + pV)/kT) q(ε | x) and q the normal density of ε. Then κ, τ and t
    set the pace only, and the cells sampled are exact whatever they are.
    A structure the potential refuses is a move not accepted. What an accepted one gives goes to `heat`.
    Source: Bernetti & Bussi, J. Chem. Phys. 153, 114107 (2020) for the trace; the tensor by the same argument (compare
    Del Tatto et al., Appl. Sci. 12, 1139 (2022)); Roberts & Tweedie, Bernoulli 2, 341 (1996) for the acceptance.
    """
    noise, times, chance = _drawn(state)
    waited = times * config.barostat_every * config.timestep_fs
    rate = config.compressibility_per_GPa / GIGAPASCAL / 3 * waited / config.barostat_fs
    strain = _pull(state, rate, config) + _variance(state, rate).sqrt()[:, None, None] * allowed(noise, config)
    system, rows = state.system, state.system.system_index
    grow, shrink = symmetric_exp(strain), symmetric_exp(-strain)
    system = system.replace(positions=_times(system.positions, grow[rows]), cell=system.cell @ grow)
    moved = replace(state, system=system, velocities=_times(state.velocities, shrink[rows]))
    moved, _ = compute(moved, engine, strained=True)
    given = enthalpy(moved) - enthalpy(state)
    likelier = _log_weight(moved, -strain, rate, config) - _log_weight(state, strain, rate, config)
    accepted = chance.log() < likelier
    bath = replace(state.bath, heat=state.bath.heat + torch.where(accepted, given, 0.0))
    bath = replace(bath, strains=bath.strains + accepted)
    return replace(choose(accepted, rows, moved, state), bath=bath)


def _drawn(state: MDState) -> tuple[Float[Tensor, "system 3 3"], Float[Tensor, " system"], Float[Tensor, " system"]]:
    """Noise of a strain, the time it stands for in units of its mean, and a uniform number.

    Times are those between random events: where the pace is far too fast, short ones still lead on.
    """
    rows = generators(state.seed, state.step, CELL_STREAM)
    drawn = [(g.standard_normal((3, 3)), g.standard_exponential(), g.random()) for g in rows]
    columns = zip(*drawn, strict=True)
    noise, times, chance = (torch.from_numpy(np.array(column)).to(state.energy.device) for column in columns)
    return 0.5 * (noise + noise.transpose(1, 2)), times, chance


def _variance(state: MDState, rate: Float[Tensor, " system"]) -> Float[Tensor, " system"]:
    """Of each independent component of the strain."""
    return 2 * state.thermal * rate / state.system.volume


def _pull(state: MDState, rate: Float[Tensor, " system"], config: MDConfig) -> Float[Tensor, "system 3 3"]:
    """The mean of the strain: its rate times P − p.

    Where it exceeds the noise, far from equilibrium, it is cut to three quarters, without which no move would be
    accepted while it grows; and to `LARGEST`.
    """
    pull = (rate / state.system.volume)[:, None, None] * allowed(_imbalance(state), config)
    size = torch.linalg.matrix_norm(pull).clamp_min(1e-300)
    kept = torch.minimum((_variance(state, rate).sqrt() / size).clamp(0.75, 1.0), LARGEST / size)
    return pull * kept[:, None, None]


def _log_weight(
    state: MDState, strain: Float[Tensor, "system 3 3"], rate: Float[Tensor, " system"], config: MDConfig
) -> Float[Tensor, " system"]:
    """log of V e^(−(E + K + pV)/kT) q(ε | x) but for a constant."""
    volume, away = state.system.volume, strain - _pull(state, rate, config)
    # q carries variance^(−f/2), f the independent strains, and the variance goes as 1/V.
    measure = (1 + strain_freedom(config) / 2) * volume.log()
    return measure - enthalpy(state) / state.thermal - (away**2).sum(dim=(1, 2)) / (2 * _variance(state, rate))


def swinging(state: MDState, config: MDConfig) -> MDState:
    """The state with a strain rate of `martyna_tobias_klein` drawn at the temperature, instead of a cell at rest."""
    width = (state.thermal / _inertia(state, config)).sqrt()[:, None, None]
    rate = allowed(width * _drawn(state)[0], config)
    return replace(state, bath=replace(state.bath, strain_rate=rate))


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


def enthalpy(state: MDState) -> Float[Tensor, " system"]:
    """E + K + pV, eV."""
    return state.energy + state.kinetic + state.pressure * state.system.volume


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
