"""Verbs for what moves: trajectories read back, conductivities, free energies."""

from typing import Any

import torch

from groundstate.api.sources import LoadedModel, Source, configured, load, systems
from groundstate.atoms import Allowances, UndefinedPropertyError
from groundstate.atoms.units import BOLTZMANN, FEMTOSECOND
from groundstate.simulation import Callback, Progress, silent
from groundstate.simulation.analysis import Conductivity, Trajectory, heat_flux, read_trajectory
from groundstate.simulation.analysis import green_kubo as correlation_integral
from groundstate.simulation.free_energy.einstein import EinsteinConfig, FreeEnergy, einstein

__all__ = ["free_energy", "green_kubo", "read_trajectory"]


def free_energy(
    source: Source, model: Any, *, allow: Allowances | None = None, progress: Callback = silent, **options: Any
) -> list[FreeEnergy]:
    """Helmholtz free energies of relaxed crystals; `options` are fields of `EinsteinConfig`.

    >>> gs.free_energy("Cu_supercell.cif", "chgnet", temperature_K=300.0)

    See `simulation.free_energy.einstein`.
    """
    config, loaded = configured(EinsteinConfig, options), load(model)
    return [einstein(single, loaded.potential, config, allow=allow, progress=progress) for single in systems(source)]


def green_kubo(
    trajectory: Trajectory,
    model: Any,
    *,
    every: int = 1,
    cutoff_fs: float | None = None,
    progress: Callback = silent,
) -> Conductivity:
    """Green–Kubo conductivity of a crystal along a trajectory at constant energy, with the model's own heat flux.

    The temperature is that of the velocities. A model whose energies reach too far for an unfolded structure is refused
    with E-HEAT-FLUX-SIZE or E-HEAT-FLUX-REACH. See `simulation.analysis.heat_flux` and `green_kubo`.
    """
    loaded: LoadedModel = load(model)
    volume = float(trajectory.volumes[0])
    if trajectory.velocities is None:
        what, why = "the trajectory holds no velocities", "heat is carried by them"
        raise UndefinedPropertyError("E-TRAJECTORY-VELOCITIES", what, why=why, fix="store a column 'velocities', Å/fs")
    frames = range(0, trajectory.n_frames, every)
    fluxes = []
    for count, frame in enumerate(frames):
        fluxes.append(heat_flux(loaded.potential, trajectory.system(frame), trajectory.velocities[frame]))
        progress(Progress(count + 1, len(frames), "frames"))
    speeds = trajectory.velocities / FEMTOSECOND
    twice = float((trajectory.masses[:, None] * speeds**2).sum(dim=(1, 2)).mean())
    kelvin = twice / (3 * (len(trajectory.numbers) - 1) * BOLTZMANN)
    return correlation_integral(
        torch.stack(fluxes), every * trajectory.interval_fs, volume, kelvin, cutoff_fs=cutoff_fs
    )
