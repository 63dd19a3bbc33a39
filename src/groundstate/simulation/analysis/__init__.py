"""What is read from trajectories: structure, diffusion, vibrations, heat."""

from groundstate.simulation.analysis.heat import Conductivity, green_kubo, heat_flux
from groundstate.simulation.analysis.motion import Diffusion, Spectrum, diffusivity, msd, vacf, vibrational_spectrum
from groundstate.simulation.analysis.structure import Angles, Pairs, angular_distribution, rdf
from groundstate.simulation.analysis.trajectory import Trajectory, read_trajectory

__all__ = [
    "Angles",
    "Conductivity",
    "Diffusion",
    "Pairs",
    "Spectrum",
    "Trajectory",
    "angular_distribution",
    "diffusivity",
    "green_kubo",
    "heat_flux",
    "msd",
    "rdf",
    "read_trajectory",
    "vacf",
    "vibrational_spectrum",
]
