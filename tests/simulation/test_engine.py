"""Neighbour lists that are reused give the same numbers as fresh ones; a refusing structure harms itself only."""

import torch

from groundstate.atoms import Domain, GroundstateError, StructureError, System
from groundstate.potentials import Potential, evaluate
from groundstate.simulation.engine import Engine
from toys import fcc, lennard_jones


def test_reused_lists_equal_fresh_ones_while_atoms_and_cell_move(potential, crystal, slab, molecule):
    system = System.batch([crystal(1), slab, molecule, crystal(2, repeats=2)])
    engine = Engine(potential, skin=1.0)
    generator = torch.Generator().manual_seed(1)
    for n in range(12):
        noise = 0.1 * torch.randn(system.positions.shape, generator=generator, dtype=torch.float64)
        strain = torch.eye(3, dtype=torch.float64) + 0.01 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
        cell = torch.where(system.pbc[:, :, None], system.cell @ strain, system.cell)
        system = system.replace(positions=system.positions @ strain + noise, cell=cell)
        if n == 6:
            system = system.select([3, 0, 1])
            engine.select([3, 0, 1])
        if n == 8:
            system = System.batch([system, crystal(5)])
            engine.extend(1)
        found, errors = engine.evaluate(system, ("energy", "forces"))
        fresh = evaluate(potential, system, ("energy", "forces"))
        assert not errors
        torch.testing.assert_close(found["energy"], fresh["energy"], rtol=0, atol=1e-11)
        torch.testing.assert_close(found["forces"], fresh["forces"], rtol=0, atol=1e-11)
    assert engine.neighbours.builds < 12 * 4


def test_lists_are_kept_while_nothing_moves(potential, crystal):
    system, engine = System.batch([crystal(1), crystal(2)]), Engine(potential, skin=0.5)
    first = engine.neighbours.graph(system)
    assert engine.neighbours.graph(system) is first
    moved = system.replace(positions=system.positions + torch.tensor([5.0, 0, 0], dtype=torch.float64))
    assert engine.neighbours.graph(moved) is first  # a common translation changes no distance
    assert engine.neighbours.builds == 2


class Refusing(Potential):
    """Refuses any batch with silver in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = lennard_jones()

    domain = Domain()
    cutoff = 6.0
    theories = ()

    def describe(self):
        return {"kind": "toy-refusing"}

    def forward(self, system, geometry):
        if bool((system.numbers == 47).any()):
            raise StructureError("E-TOY", "silver is refused")
        return self.inner(system, geometry)


def test_a_structure_the_potential_refuses_harms_itself_only(crystal):
    system = System.batch([crystal(1), fcc(47, 3.6), crystal(2)])
    found, errors = Engine(Refusing(), 0.5).evaluate(system, ("energy", "forces", "strain_gradient"))
    assert list(errors) == [1]
    assert isinstance(errors[1], GroundstateError)
    assert torch.isfinite(found["energy"]).tolist() == [True, False, True]
    alone = evaluate(lennard_jones(), system[2], ("forces",))["forces"]
    torch.testing.assert_close(found["forces"][8:], alone, rtol=0, atol=1e-11)
