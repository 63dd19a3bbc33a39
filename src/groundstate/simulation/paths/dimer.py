"""A dimer: two close copies of a structure that turn into the softest mode and climb along it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import GroundstateError, System
from groundstate.simulation.engine import Engine
from groundstate.simulation.relaxation.fire import Coordinates, FireState, advance, at_rest

SEPARATION = 0.01
"""Å from the centre of the dimer to its other end."""

SMALLEST_TURN = 0.02
"""Angle in which a turn is not worth an evaluation, and the interpolation of forces would divide by its sine."""


@dataclass(frozen=True, eq=False)
class DimerState:
    """Dimers under way; `steps` is −1 before the first evaluation.

    mode unit vector over all atoms of a structure · curvature along it eV/Å² · force the effective one, which climbs
    forces of the potential, of free atoms · residual the largest of them, eV/Å · torque what would still turn the
    dimer, eV/Å² · rotations evaluations spent on turning
    """

    system: System
    fixed: Bool[Tensor, " atom"]
    index: Int[Tensor, " system"]
    fire: FireState
    mode: Float[Tensor, "atom 3"]
    force: Float[Tensor, "atom 3"]
    forces: Float[Tensor, "atom 3"]
    energy: Float[Tensor, " system"]
    curvature: Float[Tensor, " system"]
    torque: Float[Tensor, " system"]
    residual: Float[Tensor, " system"]
    steps: Int[Tensor, " system"]
    rotations: Int[Tensor, " system"]


@dataclass(frozen=True)
class Turning:
    """How often a dimer turns at each step, and the torque (eV/Å²) below which it need not."""

    most: int
    tolerance: float


def init(
    system: System,
    fixed: Bool[Tensor, " atom"],
    index: Int[Tensor, " system"],
    mode: Float[Tensor, "atom 3"],
    max_step: float,
) -> DimerState:
    """Dimers that have not been computed yet; the mode is normalised and taken from the free atoms."""
    owner = system.system_index
    zero = Coordinates(torch.zeros_like(system.positions), torch.zeros_like(system.cell))
    direction = unit(torch.where(fixed[:, None], zero.atoms, mode), owner, system.n_systems)
    unknown = torch.full((system.n_systems,), torch.inf, dtype=torch.float64, device=system.device)
    none = torch.zeros_like(index)
    fire = at_rest(zero, max_step)
    return DimerState(
        system,
        fixed,
        index,
        fire,
        direction,
        zero.atoms,
        zero.atoms,
        unknown,
        unknown,
        unknown,
        unknown,
        none - 1,
        none,
    )


def step(state: DimerState, engine: Engine, turning: Turning) -> tuple[DimerState, dict[int, GroundstateError]]:
    """Move along the effective force, compute there, and turn towards the softest mode.

    The effective force is F − 2(F·N̂)N̂ where the curvature along N̂ is negative, −(F·N̂)N̂ where it is not: uphill along
    the mode, downhill across it.
    Source: Henkelman, Jónsson, J. Chem. Phys. 111, 7010 (1999), eqs 7–8; forward differences of Heyden, Bell, Keil,
    J. Chem. Phys. 123, 224101 (2005). Checked: tests/simulation/test_saddle.py
    """
    owner, count = state.system.system_index, state.system.n_systems
    still = torch.zeros_like(state.system.cell)
    fire, shift = advance(state.fire, Coordinates(state.force, still), owner)
    system = state.system.replace(positions=state.system.positions + shift.atoms)
    found, errors = engine.evaluate(system, ("energy", "forces"))
    forces = torch.where(state.fixed[:, None], torch.zeros_like(shift.atoms), found["forces"])
    mode, curvature, torque, spent = _turned(system, state, forces, engine, turning)
    along = _dot(forces, mode, owner, count)
    climb = torch.where(curvature < 0, 2 * along, along)
    across = torch.where((curvature < 0)[owner, None], forces, torch.zeros_like(forces))
    lengths = torch.linalg.vector_norm(forces, dim=1)
    residual = torch.zeros_like(along).scatter_reduce(0, owner, lengths, "amax")
    moved = replace(
        state,
        system=system,
        fire=fire,
        mode=mode,
        force=across - climb[owner, None] * mode,
        forces=forces,
        energy=found["energy"],
        curvature=curvature,
        torque=torque,
        residual=residual,
        steps=state.steps + 1,
        rotations=state.rotations + spent,
    )
    return moved, errors


def _turned(
    system: System, state: DimerState, forces: Tensor, engine: Engine, turning: Turning
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mode, curvature along it, torque left and evaluations spent, after turning each dimer in planes of its torque.

    In the plane of N̂ and Θ̂ the curvature is C(φ) = a₀/2 + a₁ cos 2φ + b₁ sin 2φ; two evaluations fix it, the minimum
    follows, and the force at the turned end is interpolated.
    Source: Heyden et al. (2005), eqs 5–13; Kästner, Sherwood, J. Chem. Phys. 128, 014106 (2008), eq. 7.
    """
    owner, count = system.system_index, system.n_systems
    held = state.fixed[:, None]

    def at(direction: Tensor) -> Tensor:
        there = system.replace(positions=system.positions + SEPARATION * direction)
        found, _ = engine.evaluate(there, ("forces",))
        return torch.where(held, torch.zeros_like(forces), found["forces"])

    mode, end = state.mode, at(state.mode)
    spent = torch.ones_like(state.rotations)
    for turn in range(turning.most + 1):
        slope = (end - forces) / SEPARATION
        curvature = -_dot(slope, mode, owner, count)
        twist = slope + curvature[owner, None] * mode
        torque = _dot(twist, twist, owner, count).sqrt()
        axis = twist / torque.clamp_min(1e-300)[owner, None]
        b = -_dot(slope, axis, owner, count)
        trial = -0.5 * torch.atan(b / curvature.abs().clamp_min(1e-12))
        turning_on = (torque > turning.tolerance) & (trial.abs() > SMALLEST_TURN)
        if turn == turning.most or not bool(turning_on.any()):
            break
        there = _rotated(mode, axis, trial, owner)
        turned = at(there)
        a = (curvature + _dot((turned - forces) / SEPARATION, there, owner, count) + b * torch.sin(2 * trial)) / (
            1 - torch.cos(2 * trial)
        ).clamp_min(1e-12)
        best = 0.5 * torch.atan2(-b, -a)
        share = torch.where(turning_on, torch.sin(trial), torch.ones_like(trial))
        rest = 1 - torch.cos(best) - torch.sin(best) * torch.tan(trial / 2)
        near = (torch.sin(trial - best) / share)[owner, None] * end + (torch.sin(best) / share)[owner, None] * turned
        mode = torch.where(turning_on[owner, None], _rotated(mode, axis, best, owner), mode)
        end = torch.where(turning_on[owner, None], near + rest[owner, None] * forces, end)
        mode = unit(mode, owner, count)
        spent = spent + turning_on.to(torch.int64)
    return mode, curvature, torque, spent


def unit(rows: Float[Tensor, "atom 3"], owner: Int[Tensor, " atom"], count: int) -> Float[Tensor, "atom 3"]:
    """Each structure's vector over its length."""
    return rows / _dot(rows, rows, owner, count).sqrt().clamp_min(1e-300)[owner, None]


def _rotated(mode: Tensor, axis: Tensor, angle: Tensor, owner: Tensor) -> Tensor:
    return torch.cos(angle)[owner, None] * mode + torch.sin(angle)[owner, None] * axis


def _dot(one: Tensor, other: Tensor, owner: Tensor, count: int) -> Float[Tensor, " system"]:
    products = (one * other).sum(dim=1)
    return torch.zeros(count, dtype=products.dtype, device=products.device).index_add(0, owner, products)
