"""A batch in motion and its baths: the state before the first force, and forces where the atoms are."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import GroundstateError, System
from groundstate.atoms.units import BOLTZMANN
from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.velocities import (
    kinetic_energy,
    maxwell_boltzmann,
    temperature,
    without_drift,
    without_rotation,
)
from groundstate.simulation.engine import Forces

LINKS = 3
"""Thermostats in a chain."""


@dataclass(frozen=True, eq=False)
class Bath:
    """What stands for the surroundings; zero where an ensemble does not use it.

    chain, cell_chain   η (no unit) and dη/dt of each link of the chains on the atoms and on the cell
    strain_rate         of the cell, symmetric
    heat                eV that the atoms took from a stochastic bath
    strains             how many random strains of the cell were accepted
    """

    chain: Float[Tensor, "system link 2"]
    cell_chain: Float[Tensor, "system link 2"]
    strain_rate: Float[Tensor, "system 3 3"]
    heat: Float[Tensor, " system"]
    strains: Float[Tensor, " system"]

    @classmethod
    def at_rest(cls, like: Float[Tensor, " system"]) -> "Bath":
        """One for each of as many structures."""
        links = like.new_zeros(len(like), LINKS, 2)
        return cls(links, links.clone(), like.new_zeros(len(like), 3, 3), *torch.zeros(2, *like.shape).to(like))


@dataclass(frozen=True, eq=False)
class MDState:
    """A batch in motion: velocities √(eV/amu) · forces eV/Å · energy eV · freedom: number of moving coordinates.

    strain_gradient ∂E/∂ε in eV, zero where no barostat asks for it · target K, of the bath · pressure eV/Å³, outside.
    `step` counts time steps; with `seed` it is the whole state of the random numbers.
    """

    system: System
    fixed: Bool[Tensor, " atom"]
    index: Int[Tensor, " system"]
    velocities: Float[Tensor, "atom 3"]
    forces: Float[Tensor, "atom 3"]
    energy: Float[Tensor, " system"]
    strain_gradient: Float[Tensor, "system 3 3"]
    target: Float[Tensor, " system"]
    pressure: Float[Tensor, " system"]
    freedom: Float[Tensor, " system"]
    seed: Int[Tensor, " system"]
    bath: Bath
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
    def thermal(self) -> Float[Tensor, " system"]:
        """kT of the bath, eV."""
        return BOLTZMANN * self.target

    @property
    def expansion(self) -> Float[Tensor, "system 3 3"]:
        """Internal pressure times volume, Σ m v⊗v − ∂E/∂ε, eV: what drives the cell outwards."""
        v = self.velocities
        return self.system.sum_over_atoms(self.system.masses[:, None, None] * v[:, :, None] * v[:, None, :]) - (
            self.strain_gradient
        )

    @property
    def internal_pressure(self) -> Float[Tensor, " system"]:
        """A third of the trace, eV/Å³."""
        return self.expansion.diagonal(dim1=1, dim2=2).sum(dim=1) / 3 / self.system.volume

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

    The total momentum is removed and three degrees of freedom with it, unless atoms are fixed; Langevin dynamics acts
    on every degree of freedom, the total momentum included.
    """
    target = config.target(index, 0)
    seed = config.seed + index
    if velocities is None:
        velocities = maxwell_boltzmann(system, target, seed, fixed)
    velocities = torch.where(fixed[:, None], torch.zeros_like(velocities), velocities)
    moving = 3 * system.sum_over_atoms((~fixed).to(torch.float64))
    still, freedom = without_drift(system, velocities, fixed)
    if config.remove_rotation:
        still, taken = without_rotation(system, still, fixed)
        freedom = freedom - taken
    zeros = torch.zeros_like(target)
    return MDState(
        system=system,
        fixed=fixed,
        index=index,
        velocities=still,
        forces=torch.zeros_like(still),
        energy=zeros,
        strain_gradient=torch.zeros_like(system.cell),
        target=target,
        pressure=config.pressure(index),
        freedom=moving if config.facts.drifts else freedom,
        seed=seed,
        bath=Bath.at_rest(zeros),
        step=0,
    )


def compute(state: MDState, engine: Forces, *, strained: bool = False) -> tuple[MDState, dict[int, GroundstateError]]:
    """The state with energy and forces where the atoms are, and the strain gradient; errors as in `Engine.evaluate`."""
    want = ("energy", "forces", "strain_gradient") if strained else ("energy", "forces")
    found, errors = engine.evaluate(state.system, want)
    gradient = found.get("strain_gradient", state.strain_gradient)
    return replace(state, energy=found["energy"], forces=found["forces"], strain_gradient=gradient), errors


def kick(state: MDState, velocities: Float[Tensor, "atom 3"], time: float) -> Float[Tensor, "atom 3"]:
    """Velocities after the forces acted for a time."""
    change = time * state.forces / state.system.masses[:, None]
    return velocities + torch.where(state.fixed[:, None], torch.zeros_like(change), change)


def scaled(state: MDState, factor: Float[Tensor, " system"]) -> Float[Tensor, "atom 3"]:
    """Velocities times a factor for each structure."""
    return state.velocities * factor[state.system.system_index, None]
