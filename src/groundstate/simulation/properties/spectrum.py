"""Bands along the path of high symmetry, density of states, thermal properties of a harmonic crystal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.simulation.properties.lattice import KJ_PER_MOL
from groundstate.simulation.properties.symmetry import library, optional


@dataclass(frozen=True, eq=False)
class Bands:
    """Frequencies, THz, along segments of the path of Hinuma et al.

    q in the primitive reciprocal cell · distances 1/Å, without 2π, running along the path · segments (first, last + 1)
    rows of each · labels of both ends of each segment
    Source: Hinuma, Pizzi, Kumagai, Oba, Tanaka, Comput. Mater. Sci. 128, 140 (2017).
    """

    q: Float[Tensor, "q 3"]
    distances: Float[Tensor, " q"]
    frequencies_THz: Float[Tensor, "q branch"]
    segments: tuple[tuple[int, int], ...]
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Density of states per primitive cell, 1/THz; its integral is the number of branches."""

    frequencies_THz: Float[Tensor, " point"]
    density: Float[Tensor, " point"]


@dataclass(frozen=True, eq=False)
class Thermal:
    """Harmonic free energy (eV), entropy and heat capacity at constant volume (eV/K) per primitive cell.

    excluded   share of the modes of the mesh that are imaginary and left out; the acoustic ones at Γ are always
    """

    temperatures_K: Float[Tensor, " temperature"]
    free_energy: Float[Tensor, " temperature"]
    entropy: Float[Tensor, " temperature"]
    heat_capacity: Float[Tensor, " temperature"]
    excluded: float


def spectrum_of(
    phonon: Any, points: int, mesh_length: float, temperatures_K: Sequence[float], tolerance_THz: float
) -> tuple[Bands, Spectrum, Thermal]:
    """All three, of a `Phonopy` with force constants."""
    bands = bands_of(phonon, points)
    with library():
        mesh = phonon.run_mesh(mesh_length, is_gamma_center=True)
        total = phonon.run_total_dos()
        heat = phonon.run_thermal_properties(temperatures=np.array(temperatures_K), exclude_gamma_acoustic=True)
    weights = np.array(mesh.weights, dtype=float)[:, None]
    below = np.array(mesh.frequencies) < -tolerance_THz
    share = float((below * weights).sum() / (weights.sum() * below.shape[1]))
    density = Spectrum(torch.from_numpy(np.array(total.frequency_points)), torch.from_numpy(np.array(total.dos)))
    to_eV = 1 / KJ_PER_MOL
    thermal = Thermal(
        torch.tensor(list(temperatures_K), dtype=torch.float64),
        torch.from_numpy(np.array(heat.free_energy) * to_eV),
        torch.from_numpy(np.array(heat.entropy) * to_eV / 1000),
        torch.from_numpy(np.array(heat.heat_capacity) * to_eV / 1000),
        share,
    )
    return bands, density, thermal


def bands_of(phonon: Any, points: int) -> Bands:
    """Frequencies along the path, `points` to a segment."""
    seekpath = optional("seekpath", "the path of high symmetry")
    primitive = phonon.primitive
    reciprocal = np.linalg.inv(np.array(primitive.cell)).T
    with library():
        # In the vectors of phonopy's own primitive cell, which need not be seekpath's.
        path = seekpath.get_path_orig_cell(primitive.totuple(), symprec=phonon.symmetry.tolerance)
        corners = path["point_coords"]
        lines = [np.linspace(corners[a], corners[b], points) for a, b in path["path"]]
        found = phonon.run_band_structure(lines)
    distances, start = [], 0.0
    for line in lines:
        steps = np.linalg.norm(np.diff(line @ reciprocal, axis=0), axis=1)
        along = start + np.concatenate([[0.0], np.cumsum(steps)])
        distances.append(along)
        start = along[-1]
    ends = np.cumsum([len(line) for line in lines]).tolist()
    return Bands(
        torch.from_numpy(np.concatenate(lines)),
        torch.from_numpy(np.concatenate(distances)),
        torch.from_numpy(np.concatenate([np.array(f) for f in found.frequencies])),
        tuple(zip([0, *ends[:-1]], ends, strict=True)),
        tuple((_label(a), _label(b)) for a, b in path["path"]),
    )


def _label(name: str) -> str:
    return name.replace("GAMMA", "Γ").replace("SIGMA", "Σ").replace("DELTA", "Δ").replace("LAMBDA", "Λ")
