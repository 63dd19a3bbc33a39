"""Molecular dynamics as (state, init, step): constant energy, or constant temperature by Langevin's equation."""

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import GroundstateError, OptionError, System
from groundstate.atoms.units import BOLTZMANN, FEMTOSECOND
from groundstate.simulation import options
from groundstate.simulation.dynamics.velocities import (
    THERMOSTAT_STREAM,
    gaussian,
    kinetic_energy,
    maxwell_boltzmann,
    temperature,
    without_drift,
    without_rotation,
)
from groundstate.simulation.dynamics.watchdog import Watchdog
from groundstate.simulation.engine import Engine

ENSEMBLES = ("nve", "langevin")


@dataclass(frozen=True)
class MDConfig:
    """How structures move.

    ensemble           `nve`: constant energy, velocity Verlet; `langevin`: constant temperature, BAOAB
    steps, timestep_fs   fs, not ps; 1 for most solids, 0.5 with hydrogen
    temperature_K      of the initial velocities and of the thermostat; one number, or one per structure
    friction_per_ps    coupling to the heat bath; small for dynamics, larger for fast equilibration
    seed               structure i of the batch draws from the seed `seed + i`
    remove_rotation    of molecules, at the start, besides the drift that `nve` always removes
    record_every, trajectory_every, checkpoint_every   steps between samples, frames on disk, and points to resume from
    skin               Å, as in RelaxConfig · watchdog   what stops a structure
    """

    steps: int
    timestep_fs: float
    temperature_K: float | tuple[float, ...]
    ensemble: str = "nve"
    friction_per_ps: float = 1.0
    seed: int = 0
    remove_rotation: bool = False
    record_every: int = 10
    trajectory_every: int = 100
    checkpoint_every: int = 1000
    skin: float = 1.0
    watchdog: Watchdog = field(default_factory=Watchdog)

    def __post_init__(self) -> None:
        options.one_of("ensemble", self.ensemble, ENSEMBLES)
        for name in ("steps", "record_every", "trajectory_every", "checkpoint_every"):
            options.whole(name, getattr(self, name), 1)
        options.whole("seed", self.seed, 0)
        hint = "it is in fs: 1 is usual, 0.5 with hydrogen; a value in ps is a thousand times too small"
        options.within("timestep_fs", self.timestep_fs, 0.01, 20.0, code="E-TIMESTEP", hint=hint)
        for kelvin in self.temperatures:
            options.within(
                "temperature_K", kelvin, 0.0, 1e5, code="E-TEMPERATURE", hint="it is in K; 0.025 eV is 290 K"
            )
            if self.ensemble == "langevin" and kelvin < 1.0:
                raise OptionError(
                    "E-TEMPERATURE",
                    f"a thermostat was set to {kelvin:g} K",
                    why="classical motion has no meaning there, and 0 K is a relaxation",
                    fix="it is in K, not eV (0.025 eV is 290 K); to cool to rest, relax",
                )
        options.within("friction_per_ps", self.friction_per_ps, 1e-4, 1e3, hint="it is in 1/ps; 0.1 to 10 is usual")
        options.within("skin", self.skin, 0.0, 5.0, hint="it is in Å")

    @property
    def temperatures(self) -> tuple[float, ...]:
        """One, or one per structure."""
        given = self.temperature_K
        return tuple(float(t) for t in given) if isinstance(given, tuple) else (float(given),)


@dataclass(frozen=True, eq=False)
class MDState:
    """A batch in motion: velocities √(eV/amu) · forces eV/Å · energy eV · freedom: number of moving coordinates.

    `step` counts time steps; with `seed` it is the whole state of the random numbers.
    """

    system: System
    fixed: Bool[Tensor, " atom"]
    index: Int[Tensor, " system"]
    velocities: Float[Tensor, "atom 3"]
    forces: Float[Tensor, "atom 3"]
    energy: Float[Tensor, " system"]
    target: Float[Tensor, " system"]
    freedom: Float[Tensor, " system"]
    seed: Int[Tensor, " system"]
    step: int

    @property
    def kinetic(self) -> Float[Tensor, " system"]:
        """eV"""
        return kinetic_energy(self.system, self.velocities)

    @property
    def temperature(self) -> Float[Tensor, " system"]:
        """K"""
        return temperature(self.kinetic, self.freedom)

    @property
    def max_force(self) -> Float[Tensor, " system"]:
        """Largest force on an atom, eV/Å."""
        norms = torch.linalg.vector_norm(self.forces, dim=1)
        return torch.zeros_like(self.energy).scatter_reduce(0, self.system.system_index, norms, "amax")


def init(
    system: System,
    fixed: Bool[Tensor, " atom"],
    index: Int[Tensor, " system"],
    config: MDConfig,
    velocities: Float[Tensor, "atom 3"] | None = None,
) -> MDState:
    """The state before the first force evaluation: velocities given, or drawn at the temperature.

    At constant energy the total momentum is removed and three degrees of freedom with it, unless atoms are fixed;
    Langevin dynamics acts on every degree of freedom, the total momentum included.
    """
    kelvin = torch.tensor(config.temperatures, dtype=torch.float64, device=system.device)
    target = kelvin.expand(len(index)) if len(kelvin) == 1 else kelvin[index]
    seed = config.seed + index
    if velocities is None:
        velocities = maxwell_boltzmann(system, target, seed, fixed)
    velocities = torch.where(fixed[:, None], torch.zeros_like(velocities), velocities)
    moving = 3 * system.sum_over_atoms((~fixed).to(torch.float64))
    still, freedom = without_drift(system, velocities, fixed)
    if config.remove_rotation:
        still, taken = without_rotation(system, still, fixed)
        freedom = freedom - taken
    if config.ensemble == "langevin":
        freedom = moving
    zeros = torch.zeros(len(index), dtype=torch.float64, device=system.device)
    return MDState(system, fixed, index, still, torch.zeros_like(still), zeros, target.clone(), freedom, seed, 0)


def compute(state: MDState, engine: Engine) -> tuple[MDState, dict[int, GroundstateError]]:
    """The state with energy and forces where the atoms are; errors as in `Engine.evaluate`."""
    found, errors = engine.evaluate(state.system, ("energy", "forces"))
    return replace(state, energy=found["energy"], forces=found["forces"]), errors


def step(state: MDState, engine: Engine, config: MDConfig) -> tuple[MDState, dict[int, GroundstateError]]:
    """One time step: kick B, drift A, [bath O,] drift A, new forces, kick B.

    Without O this is velocity Verlet, whose energy error is O(Δt²) and does not grow. With O it is BAOAB, whose
    averages over positions are exact for harmonic motion at any stable Δt.
    Source: Swope et al., J. Chem. Phys. 76, 637 (1982); Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34.
    Checked: tests/simulation/test_md.py (Δt² law, χ² of the kinetic energy, harmonic widths)
    """
    time = config.timestep_fs * FEMTOSECOND
    velocities = _kick(state, state.velocities, 0.5 * time)
    if config.ensemble == "langevin":
        positions = state.system.positions + 0.5 * time * velocities
        velocities = _bath(state, velocities, config)
        positions = positions + 0.5 * time * velocities
    else:
        positions = state.system.positions + time * velocities
    moved = replace(state, system=state.system.replace(positions=positions), step=state.step + 1)
    moved, errors = compute(moved, engine)
    return replace(moved, velocities=_kick(moved, velocities, 0.5 * time)), errors


def _kick(state: MDState, velocities: Tensor, time: float) -> Tensor:
    change = time * state.forces / state.system.masses[:, None]
    return velocities + torch.where(state.fixed[:, None], torch.zeros_like(change), change)


def _bath(state: MDState, velocities: Tensor, config: MDConfig) -> Tensor:
    """Exact solution of dv = −γv dt + √(2γkT/m) dW over one time step."""
    system = state.system
    keep = math.exp(-config.friction_per_ps * config.timestep_fs * 1e-3)
    width = (BOLTZMANN * state.target[system.system_index] / system.masses * (1 - keep**2)).sqrt()
    noise = gaussian(system, state.seed, state.step, THERMOSTAT_STREAM)
    kicked = keep * velocities + width[:, None] * noise
    return torch.where(state.fixed[:, None], torch.zeros_like(kicked), kicked)
