"""Molecular dynamics as (state, init, step): one step for each ensemble, chosen by name in one table."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import System
from groundstate.simulation.dynamics import state as states
from groundstate.simulation.dynamics.barostats import cell_energy, cell_rescaling, martyna_tobias_klein, swinging
from groundstate.simulation.dynamics.chains import nose_hoover, on_atoms_stored, pace, stored, strain_freedom
from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.state import MDState, compute
from groundstate.simulation.dynamics.verlet import Step, csvr, langevin, verlet
from groundstate.simulation.engine import Forces

__all__ = ["MDConfig", "MDState", "compute", "conserved", "init", "step"]

_STEPS: dict[str, Callable[[MDState, Forces, MDConfig], Step]] = {
    "nve": verlet,
    "langevin": langevin,
    "csvr": csvr,
    "nose-hoover": nose_hoover,
    "npt": cell_rescaling,
    "npt-mtk": martyna_tobias_klein,
}


def init(
    system: System,
    fixed: Bool[Tensor, " atom"],
    index: Int[Tensor, " system"],
    config: MDConfig,
    velocities: Float[Tensor, "atom 3"] | None = None,
) -> MDState:
    """The state before the first force evaluation, as `state.init`; a cell with inertia swings at the temperature."""
    first = states.init(system, fixed, index, config, velocities)
    return swinging(first, config) if config.ensemble == "npt-mtk" else first


def step(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """One time step; errors as in `Engine.evaluate`."""
    if config.final_temperature_K is not None:
        state = replace(state, target=config.target(state.index, state.step))
    moved, errors = _STEPS[config.ensemble](state, engine, config)
    return replace(moved, step=state.step + 1), errors


def conserved(state: MDState, config: MDConfig) -> Float[Tensor, " system"]:
    """What an exact integrator would keep constant, eV: the total energy and what the baths hold or gave.

    Of `langevin` no such sum is kept; there it is the total energy.
    """
    held = {"csvr": _given, "nose-hoover": on_atoms_stored, "npt": _given, "npt-mtk": _atoms_and_cell}
    total = state.energy + state.kinetic
    return total + held[config.ensemble](state, config) if config.ensemble in held else total


def _given(state: MDState, config: MDConfig) -> Float[Tensor, " system"]:
    return state.pressure * state.system.volume * config.facts.barostat - state.bath.heat


def _atoms_and_cell(state: MDState, config: MDConfig) -> Float[Tensor, " system"]:
    freedom = torch.full_like(state.freedom, strain_freedom(config))
    chain = stored(state.bath.cell_chain, freedom, state.thermal, pace(config))
    return on_atoms_stored(state, config) + cell_energy(state, config) + chain
