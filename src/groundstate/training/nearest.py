"""How near the structures of a training set ever bring two elements: below that, a network holds what it learned and
nuclear repulsion takes over."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from groundstate.atoms import pair_distances
from groundstate.atoms.elements import N_ELEMENTS, periodic_table
from groundstate.data import Record
from groundstate.potentials import Potential
from groundstate.potentials.nearest import TRUSTED, Nearest

_MANY = 20_000
"""Records that take long enough for a progress bar."""


def take_nearest(potential: Potential, records: Sequence[Record], *, progress: bool = False) -> None:
    """Tell everything in a potential that builds on it (`potentials.nearest.Nearest`: where a network holds, where
    nuclear repulsion begins) what these records know. A model that was told before knows the nearest of both.
    Checked: tests/training/test_nearest.py
    """
    ignorant = [module for module in potential.modules() if isinstance(module, Nearest)]
    if ignorant:
        found = nearest_distances(records, progress=progress)
        for module in ignorant:
            module.know(found)


def nearest_distances(records: Sequence[Record], *, progress: bool = False) -> Float[Tensor, "number number"]:
    """Å between the nearest atoms of each two elements, by atomic number; ∞ beyond 1/TRUSTED sums of covalent radii."""
    radii = np.array([0.0, *(row.covalent_radius for row in periodic_table())])
    nearest = np.full((N_ELEMENTS + 1, N_ELEMENTS + 1), np.inf)
    shown = progress and len(records) > _MANY
    for record in track(records, "nearest distances", transient=True) if shown else records:
        numbers = record.system.numbers.numpy()
        first, second, distances = pair_distances(record.system, 2 * float(radii[numbers].max()) / TRUSTED)
        np.minimum.at(nearest, (numbers[first], numbers[second]), distances)
    return torch.from_numpy(np.minimum(nearest, nearest.T))
