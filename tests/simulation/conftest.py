"""Structures, and an ASE twin of a potential."""

from collections.abc import Callable

import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from groundstate.atoms import System
from groundstate.potentials import Potential, evaluate
from planted import faulty_potential
from toys import fcc, lennard_jones


@pytest.fixture
def potential() -> Potential:
    return lennard_jones(cutoff=4.5)


def rattled(system: System, amplitude: float, seed: int) -> System:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(system.positions.shape, generator=generator, dtype=torch.float64)
    return system.replace(positions=system.positions + amplitude * noise)


@pytest.fixture
def crystal() -> Callable[..., System]:
    """A rattled fcc crystal of the toy potential, whose minimum is near a = 3.56 Å."""

    def make(seed: int = 0, lattice_constant: float = 3.6, amplitude: float = 0.08, repeats: int = 1) -> System:
        return rattled(fcc(lattice_constant=lattice_constant, repeats=repeats), amplitude, seed)

    return make


@pytest.fixture
def sheared() -> System:
    perfect = fcc(lattice_constant=3.6)
    shear = torch.tensor([[1.03, 0.08, 0.0], [0.0, 0.97, -0.05], [0.04, 0.0, 1.0]], dtype=torch.float64)
    return rattled(perfect.replace(positions=perfect.positions @ shear, cell=perfect.cell @ shear), 0.05, 3)


@pytest.fixture
def slab() -> System:
    """Four layers of fcc (001), periodic in the plane, with a cell vector of 20 Å that is not a period."""
    layers = fcc(lattice_constant=3.6, repeats=2)
    cell = torch.diag(torch.tensor([7.2, 7.2, 20.0], dtype=torch.float64))[None]
    pbc = torch.tensor([[True, True, False]])
    return rattled(layers.replace(cell=cell, pbc=pbc), 0.05, 4)


@pytest.fixture
def molecule() -> System:
    corners = [[0, 0, 0], [2.6, 0, 0], [1.3, 2.2, 0], [1.2, 0.8, 2.1]]
    return System.single(corners, [29] * 4)


class AseTwin(Calculator):
    """The same potential for ASE's optimisers, with nothing in between but `evaluate`."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        system = System.single(atoms.positions, atoms.numbers, cell=atoms.cell.array, pbc=atoms.pbc)
        found = evaluate(self.potential, system, ("energy", "forces", "strain_gradient"))
        self.results = {"energy": float(found["energy"]), "forces": found["forces"].numpy()}
        if atoms.pbc.any():
            stress = found["strain_gradient"][0].numpy() / atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


@pytest.fixture
def ase_twin(potential: Potential) -> Callable[[System], Atoms]:
    def make(system: System) -> Atoms:
        atoms = Atoms(
            numbers=system.numbers.numpy(),
            positions=system.positions.numpy(),
            cell=system.cell[0].numpy(),
            pbc=system.pbc[0].numpy(),
        )
        atoms.calc = AseTwin(potential)
        return atoms

    return make


@pytest.fixture
def faulty() -> Potential:
    return faulty_potential()
