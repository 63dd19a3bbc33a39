"""Fast inertial relaxation: every structure of a batch with its own time step, velocity and mixing."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.simulation.relaxation.coordinates import Coordinates

INCREASE, DECREASE = 1.1, 0.5
MIXING, MIXING_DECAY = 0.1, 0.99
PATIENCE = 5
FIRST_TIMESTEP, LARGEST_TIMESTEP = 0.1, 1.0


@dataclass(frozen=True, eq=False)
class FireState:
    """velocity · timestep (mass 1, so Å/√eV) · mixing α · downhill steps since the last stop · max_step Å."""

    velocity: Coordinates
    timestep: Float[Tensor, " system"]
    mixing: Float[Tensor, " system"]
    downhill: Int[Tensor, " system"]
    max_step: Float[Tensor, " system"]


def at_rest(zero: Coordinates, max_step: float) -> FireState:
    """The state before the first step; `zero` has the shape of the coordinates."""
    ones = torch.ones(zero.cell.shape[0], dtype=torch.float64, device=zero.cell.device)
    none = torch.zeros_like(ones, dtype=torch.int64)
    return FireState(zero, FIRST_TIMESTEP * ones, MIXING * ones, none, max_step * ones)


def advance(state: FireState, force: Coordinates, owner: Int[Tensor, " atom"]) -> tuple[FireState, Coordinates]:
    """One step: the new state and the displacement, whose longest row is at most `max_step`.

    P = F·v > 0: v ← (1 − α)v + α|v|F̂ and, after `PATIENCE` such steps, a longer time step and less mixing; P < 0: stop,
    halve the time step. Then v ← v + Δt F, r ← r + Δt v. P = 0 happens at rest only and changes nothing.
    Source: Bitzek, Koskinen, Gähler, Moseler, Gumbsch, Phys. Rev. Lett. 97, 170201 (2006).
    Checked: tests/simulation/test_relax.py (same minima as ASE).
    """
    velocity, mixing, timestep = state.velocity, state.mixing, state.timestep
    power = force.dot(velocity, owner)
    going_down, going_up = power > 0, power < 0
    speed, strength = velocity.dot(velocity, owner).sqrt(), force.dot(force, owner).sqrt().clamp_min(1e-300)
    one, nothing = torch.ones_like(mixing), torch.zeros_like(mixing)
    keep = torch.where(going_down, 1 - mixing, torch.where(going_up, nothing, one))
    along = torch.where(going_down, mixing * speed / strength, nothing)
    faster = going_down & (state.downhill > PATIENCE)
    timestep = torch.where(faster, (timestep * INCREASE).clamp_max(LARGEST_TIMESTEP), timestep)
    timestep = torch.where(going_up, timestep * DECREASE, timestep)
    mixing = torch.where(faster, mixing * MIXING_DECAY, mixing)
    mixing = torch.where(going_up, MIXING * one, mixing)
    downhill = torch.where(going_down, state.downhill + 1, torch.where(going_up, 0, state.downhill))
    velocity = velocity.scaled(keep, owner) + force.scaled(along + timestep, owner)
    step = velocity.scaled(timestep, owner).within(state.max_step, owner)
    return FireState(velocity, timestep, mixing, downhill, state.max_step), step


def retreated(state: FireState) -> FireState:
    """At rest, with a fifth of the time step and of the longest step: what follows a step that went wrong."""
    still = Coordinates(torch.zeros_like(state.velocity.atoms), torch.zeros_like(state.velocity.cell))
    mixing, downhill = torch.full_like(state.mixing, MIXING), torch.zeros_like(state.downhill)
    return FireState(still, 0.2 * state.timestep, mixing, downhill, 0.2 * state.max_step)
