"""Small analytic potentials for tests of rooms that need one: exact derivatives, no weights, smooth at the cutoff."""

from collections.abc import Mapping

import torch
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.potentials import Energy, Model, Potential, Term


class SmoothLennardJones(Term):
    """4ε[(σ/r)¹² − (σ/r)⁶]·(1 − (r/r_c)²)³ for every pair, whatever the elements."""

    reaches_contact = True

    def __init__(self, epsilon: float, sigma: float, cutoff: float) -> None:
        super().__init__()
        self.epsilon, self.sigma, self.cutoff = epsilon, sigma, cutoff

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        edges = geometry.edges(self.cutoff)
        inverse = (self.sigma / edges.distances) ** 6
        switch = (1 - (edges.distances / self.cutoff) ** 2).clamp_min(0.0) ** 3
        return Energy.of_atoms(system, 0.5 * edges.sum_to_receivers(4 * self.epsilon * (inverse**2 - inverse) * switch))


def lennard_jones(epsilon: float = 0.2, sigma: float = 2.3, cutoff: float = 6.0) -> Potential:
    """A binding pair potential with its minimum near 1.12 σ; fcc lattice constant near 1.55 σ."""
    description = {"kind": "toy-pair", "epsilon": epsilon, "sigma": sigma, "cutoff": cutoff}
    return Model(None, {}, {"pair": SmoothLennardJones(epsilon, sigma, cutoff)}, description=description)


def fcc(number: int = 29, lattice_constant: float = 3.61, repeats: int = 1) -> System:
    """Cubic fcc cell, 4·repeats³ atoms."""
    steps = torch.cartesian_prod(*[torch.arange(repeats, dtype=torch.float64)] * 3).reshape(-1, 3)
    basis = torch.tensor([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], dtype=torch.float64)
    positions = (steps[:, None, :] + basis[None, :, :]).reshape(-1, 3) * lattice_constant
    cell = torch.eye(3, dtype=torch.float64) * lattice_constant * repeats
    return System.single(positions, [number] * len(positions), cell=cell, pbc=True)
