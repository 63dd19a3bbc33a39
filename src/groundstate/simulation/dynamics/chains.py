"""Nosé–Hoover chains: a deterministic bath for atoms or for a cell."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms.units import FEMTOSECOND
from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.state import LINKS, MDState, scaled
from groundstate.simulation.dynamics.verlet import Step, verlet
from groundstate.simulation.engine import Forces

_OUTER = 1 / (2 - 2 ** (1 / 3))
WEIGHTS = (_OUTER, 1 - 2 * _OUTER, _OUTER)
"""Suzuki–Yoshida, fourth order."""


def nose_hoover(state: MDState, engine: Forces, config: MDConfig) -> Step:
    """Constant temperature: half a step of the chain, velocity Verlet, half a step of the chain.

    Conserved: E + `stored`. Source: Martyna, Tuckerman, Tobias & Klein, Mol. Phys. 87, 1117 (1996), §4.
    Checked: tests/simulation/test_ensembles.py (Δt² law of the conserved energy, χ² of the kinetic energy)
    """
    moved, errors = verlet(on_atoms(state, config), engine, config)
    return on_atoms(moved, config), errors


def on_atoms(state: MDState, config: MDConfig) -> MDState:
    """Half a time step of the chain that scales the velocities of the atoms."""
    half = 0.5 * config.timestep_fs * FEMTOSECOND
    chain, factor = propagate(state.bath.chain, 2 * state.kinetic, state.freedom, state.thermal, pace(config), half)
    return replace(state, velocities=scaled(state, factor), bath=replace(state.bath, chain=chain))


def propagate(
    chain: Float[Tensor, "system link 2"],
    double_kinetic: Float[Tensor, " system"],
    freedom: Float[Tensor, " system"],
    thermal: Float[Tensor, " system"],
    tau: float,
    time: float,
) -> tuple[Float[Tensor, "system link 2"], Float[Tensor, " system"]]:
    """The chain after a time, and the factor by which the velocities it acts on have changed.

    dη_j/dt = u_j · du_1/dt = (2K − f kT)/Q_1 − u_1 u_2 · du_j/dt = (Q_{j−1} u_{j−1}² − kT)/Q_j − u_j u_{j+1} ·
    dv/dt = −u_1 v, with Q_1 = f kT τ², Q_j = kT τ² and τ = `tau`.
    """
    masses = _masses(freedom, thermal, tau)
    place, rate = list(chain[..., 0].unbind(1)), list(chain[..., 1].unbind(1))
    factor, double = torch.ones_like(thermal), double_kinetic

    def push(j: int) -> Tensor:
        given = double - freedom * thermal if j == 0 else masses[j - 1] * rate[j - 1] ** 2 - thermal
        return given / masses[j]

    def turn(j: int, span: float) -> None:
        """Half a span of link j, damped by the next."""
        damping = torch.exp(-0.25 * span * rate[j + 1]) if j + 1 < LINKS else torch.ones_like(thermal)
        rate[j] = (rate[j] * damping + 0.5 * span * push(j)) * damping

    for weight in WEIGHTS:
        span = weight * time
        for j in reversed(range(LINKS)):
            turn(j, span)
        change = torch.exp(-span * rate[0])
        factor, double = factor * change, double * change**2
        place = [eta + span * u for eta, u in zip(place, rate, strict=True)]
        for j in range(LINKS):
            turn(j, span)
    return torch.stack([torch.stack(place, 1), torch.stack(rate, 1)], 2), factor


def stored(
    chain: Float[Tensor, "system link 2"],
    freedom: Float[Tensor, " system"],
    thermal: Float[Tensor, " system"],
    tau: float,
) -> Float[Tensor, " system"]:
    """Energy of the chain, eV: Σ ½ Q_j u_j² + f kT η_1 + kT Σ_{j>1} η_j."""
    masses = torch.stack(_masses(freedom, thermal, tau), 1)
    links = 0.5 * masses * chain[..., 1] ** 2
    return links.sum(1) + thermal * (freedom * chain[:, 0, 0] + chain[:, 1:, 0].sum(1))


def on_atoms_stored(state: MDState, config: MDConfig) -> Float[Tensor, " system"]:
    """Energy of the chain on the atoms, eV."""
    return stored(state.bath.chain, state.freedom, state.thermal, pace(config))


def pace(config: MDConfig) -> float:
    """Relaxation time of the chains, of atoms and of cell alike, in inner units."""
    return config.thermostat_fs * FEMTOSECOND


def _masses(freedom: Tensor, thermal: Tensor, tau: float) -> list[Tensor]:
    return [freedom * thermal * tau**2, *[thermal * tau**2] * (LINKS - 1)]


def strain_freedom(config: MDConfig) -> float:
    """Independent components of a strain rate."""
    return {"isotropic": 1.0, "full": 6.0}[config.cell]
