"""Energy surfaces with known stationary points, and an ASE twin of any potential."""

from collections.abc import Mapping

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.potentials import Energy, Model, Potential, Term, evaluate
from toys import fcc

SCALE = 0.01
"""eV per unit of Müller and Brown's surface."""
MINIMA = ((-0.558224, 1.441726, -146.699517), (-0.050011, 0.466694, -80.767818), (0.623499, 0.028038, -108.166724))
SADDLES = ((-0.822001, 0.624313, -40.664844), (0.212487, 0.292988, -72.248940))
"""x, y and height of the stationary points, to the digits given."""


class MullerBrown(Term):
    """The surface of Müller and Brown (Theor. Chim. Acta 53, 75 (1979)) felt by every atom: x, y in Å, z harmonic."""

    cutoff = 3.0
    reaches_contact = True

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        x, y, z = system.positions.T
        rows = (
            (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
            (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
            (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
            (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
        )
        energy = sum(
            (A * torch.exp(a * (x - u) ** 2 + b * (x - u) * (y - v) + c * (y - v) ** 2) for A, a, b, c, u, v in rows),
            start=torch.zeros_like(x),
        )
        return Energy.of_atoms(system, SCALE * energy + 5.0 * z**2)


def muller_brown() -> Potential:
    return Model(None, {}, {"surface": MullerBrown()}, description={"kind": "toy-muller-brown"})


def atom(x: float, y: float, *_: float) -> System:
    return System.single([[x, y, 0.0]], [18])


def vacancy_hop(lattice_constant: float = 3.56) -> tuple[System, System]:
    """31 atoms of an fcc crystal with a vacancy, and the same after a neighbour has hopped into it."""
    perfect = fcc(lattice_constant=lattice_constant, repeats=2)
    hole, hopper = 0, 1
    rows = torch.arange(1, perfect.n_atoms)
    start = System.single(perfect.positions[rows], perfect.numbers[rows], cell=perfect.cell[0], pbc=True)
    moved = start.positions.clone()
    moved[hopper - 1] = perfect.positions[hole]
    return start, start.replace(positions=moved)


class AseTwin(Calculator):
    """The same potential for ASE, with nothing in between but `evaluate`."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        system = System.single(atoms.positions, atoms.numbers, cell=atoms.cell.array, pbc=atoms.pbc)
        found = evaluate(self.potential, system, ("energy", "forces"))
        self.results = {"energy": float(found["energy"]), "forces": found["forces"].numpy()}


def ase_twin(system: System, potential: Potential) -> Atoms:
    atoms = Atoms(
        numbers=system.numbers.numpy(),
        positions=system.positions.numpy(),
        cell=system.cell[0].numpy(),
        pbc=system.pbc[0].numpy(),
    )
    atoms.calc = AseTwin(potential)
    return atoms
