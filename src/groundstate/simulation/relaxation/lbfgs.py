"""Limited-memory BFGS: every structure of a batch with its own history of steps and its own reach."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.simulation.relaxation.coordinates import Coordinates

MEMORY = 20
"""Steps whose curvature is remembered."""
FIRST_CURVATURE = 70.0
"""eV/Å²; of a bond, as long as nothing has been learnt."""
CURVATURE = 1e-2
"""eV/Å²; along a softer step, or a hill, nothing is learnt."""
REACH_AGAIN, REACH_LESS, LEAST_REACH = 1.5, 0.5, 0.1
"""Growth of the longest step after a good one, its decay after going uphill, its least share of `max_step`."""


@dataclass(frozen=True, eq=False)
class LbfgsState:
    """The last step and the force before it; remembered steps s (Å) and changes of minus the force y (eV/Å), latest
    last, with 1/(s·y), 0 where there is none; `reach`: the longest step now, at most `max_step` (Å).
    """

    step: Coordinates
    force: Coordinates
    steps: Float[Tensor, "atom memory 3"]
    cell_steps: Float[Tensor, "system memory 3 3"]
    changes: Float[Tensor, "atom memory 3"]
    cell_changes: Float[Tensor, "system memory 3 3"]
    weights: Float[Tensor, "system memory"]
    reach: Float[Tensor, " system"]
    max_step: Float[Tensor, " system"]


def at_rest(zero: Coordinates, max_step: float) -> LbfgsState:
    """The state before the first step; `zero` has the shape of the coordinates."""
    atoms = zero.atoms.new_zeros(zero.atoms.shape[0], MEMORY, 3)
    cells = zero.cell.new_zeros(zero.cell.shape[0], MEMORY, 3, 3)
    limit = torch.full_like(zero.cell[:, 0, 0], max_step)
    return LbfgsState(zero, zero, atoms, cells, atoms, cells, cells[:, :, 0, 0], limit, limit)


def advance(state: LbfgsState, force: Coordinates, owner: Int[Tensor, " atom"]) -> tuple[LbfgsState, Coordinates]:
    """One step: the new state and the displacement, whose longest row is at most `reach`.

    The change of energy over the last step is −½(F + F')·s, from forces alone, so that no digit of a large energy is
    lost. Where it is positive, or the new direction does not go downhill, the history is dropped and the step follows
    the force. Source: Nocedal, Math. Comput. 35, 773 (1980), algorithm of two loops; Liu & Nocedal, Math. Program. 45,
    503 (1989), the scaling s·y/y·y. Checked: tests/simulation/test_lbfgs.py (quadratics, ASE's minima).
    """
    state = _remembered(state, force, owner)
    uphill = (force + state.force).dot(state.step, owner) < 0
    state = _forgotten(state, uphill)
    step = _direction(state, force, owner)
    along = step.dot(force, owner) / (step.dot(step, owner) * force.dot(force, owner)).sqrt().clamp_min(1e-300)
    wrong = along < 1e-3
    state = _forgotten(state, wrong)
    straight = force.scaled(torch.full_like(state.reach, 1 / FIRST_CURVATURE), owner)
    mask = wrong | uphill
    step = Coordinates(
        torch.where(mask[owner, None], straight.atoms, step.atoms),
        torch.where(mask[:, None, None], straight.cell, step.cell),
    )
    factor = torch.where(uphill, REACH_LESS, REACH_AGAIN)
    reach = torch.minimum((state.reach * factor).clamp_min(LEAST_REACH * state.max_step), state.max_step)
    step = step.within(reach, owner)
    return replace(state, step=step, force=force, reach=reach), step


def retreated(state: LbfgsState) -> LbfgsState:
    """Without history, with a fifth of the longest step: what follows a step that went wrong."""
    still = Coordinates(torch.zeros_like(state.step.atoms), torch.zeros_like(state.step.cell))
    forgotten = _forgotten(state, torch.ones_like(state.reach, dtype=torch.bool))
    return replace(forgotten, step=still, reach=0.2 * state.max_step, max_step=0.2 * state.max_step)


def _remembered(state: LbfgsState, force: Coordinates, owner: Int[Tensor, " atom"]) -> LbfgsState:
    """With the last step in the history, where its curvature is that of a valley."""
    change = Coordinates(state.force.atoms - force.atoms, state.force.cell - force.cell)
    product, square = state.step.dot(change, owner), state.step.dot(state.step, owner)
    valley = product > CURVATURE * square.clamp_min(1e-300)
    added = torch.where(valley, 1 / torch.where(valley, product, 1.0), 0.0)

    def shifted(kept: Tensor, new: Tensor, mask: Tensor) -> Tensor:
        mask = mask.reshape(-1, *[1] * (kept.dim() - 1))
        return torch.where(mask, torch.cat([kept[:, 1:], new[:, None]], dim=1), kept)

    return replace(
        state,
        steps=shifted(state.steps, state.step.atoms, valley[owner]),
        cell_steps=shifted(state.cell_steps, state.step.cell, valley),
        changes=shifted(state.changes, change.atoms, valley[owner]),
        cell_changes=shifted(state.cell_changes, change.cell, valley),
        weights=shifted(state.weights, added, valley),
    )


def _forgotten(state: LbfgsState, which: Tensor) -> LbfgsState:
    """Without history for some structures: what has no weight is never read."""
    return replace(state, weights=torch.where(which[:, None], 0.0, state.weights))


def _direction(state: LbfgsState, force: Coordinates, owner: Int[Tensor, " atom"]) -> Coordinates:
    """The inverse Hessian of the history times the force."""
    known = [k for k, any_weight in enumerate((state.weights != 0).any(dim=0).tolist()) if any_weight]
    pairs = [
        (
            Coordinates(state.steps[:, k], state.cell_steps[:, k]),
            Coordinates(state.changes[:, k], state.cell_changes[:, k]),
            state.weights[:, k],
        )
        for k in known
    ]
    taken, direction = [], force
    for step, change, weight in reversed(pairs):
        share = weight * step.dot(direction, owner)
        direction = direction + change.scaled(-share, owner)
        taken.append(share)
    softness = torch.full_like(state.reach, 1 / FIRST_CURVATURE)
    if pairs:
        _, change, weight = pairs[-1]
        square = change.dot(change, owner)
        softness = torch.where(weight > 0, 1 / (weight * square).clamp_min(1e-300), softness)
    direction = direction.scaled(softness, owner)
    for (step, change, weight), share in zip(pairs, reversed(taken), strict=True):
        direction = direction + step.scaled(share - weight * change.dot(direction, owner), owner)
    return direction
