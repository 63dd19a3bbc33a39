"""A potential with planted faults and batches with bad structures, for tests that run in other processes too."""

from collections.abc import Mapping

import torch
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.potentials import Energy, Model, Potential, Term
from toys import fcc, lennard_jones

GOLD, SILVER, IRON, PALLADIUM = 79, 47, 26, 46


class Faulty(Term):
    """A pair potential with planted faults, by element: gold is NaN, silver repels without end, iron has no floor,
    palladium has a kink at the distance it likes best, where forces jump and never vanish."""

    cutoff = 4.5
    reaches_contact = True

    def __init__(self) -> None:
        super().__init__()
        self.sound = lennard_jones(cutoff=4.5).terms["pair"]

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        energy = self.sound(system, geometry, outputs)
        edges = geometry.edges(self.cutoff)
        kind, fade = system.numbers[edges.receivers], (1 - edges.distances / self.cutoff) ** 2
        repulsion = torch.where(kind == SILVER, 20 * fade, 0.0)
        hole = torch.where(kind == IRON, -400.0 * torch.exp(-((edges.distances / 1.2) ** 2)), 0.0)
        kink = torch.where(kind == PALLADIUM, 2.0 * (edges.distances - 2.55).abs() * fade, 0.0)
        planted = Energy.of_atoms(system, edges.sum_to_receivers(repulsion + hole + kink))
        gold = system.numbers == GOLD
        broken = torch.where(gold, torch.nan, 0.0).to(torch.float64) * system.positions.sum(dim=1)
        return energy + planted + Energy.of_atoms(system, torch.where(gold, broken, 0.0))


def faulty_potential() -> Potential:
    return Model(None, {}, {"pair": Faulty()}, description={"kind": "toy-faulty"})


def rattled_fcc(seed: int, number: int = 29, lattice_constant: float = 3.6, repeats: int = 1) -> System:
    system, generator = fcc(number, lattice_constant, repeats), torch.Generator().manual_seed(seed)
    noise = torch.randn(system.positions.shape, generator=generator, dtype=torch.float64)
    return system.replace(positions=system.positions + 0.08 * noise)


def long_batch(count: int) -> tuple[System, dict[int, tuple[str, str]]]:
    """So many structures of 4 to 32 atoms, every sixth of them bad in one of nine ways; and the end of the bad ones."""
    nan = fcc().replace(positions=fcc().positions.index_fill(0, torch.tensor([2]), torch.nan))
    overlap = fcc().replace(positions=fcc().positions.index_copy(0, torch.tensor([1]), fcc().positions[:1] + 0.05))
    vacuum = rattled_fcc(5).replace(cell=2000.0 * torch.eye(3, dtype=torch.float64)[None])
    shifted = fcc(IRON, 3.9)
    shifted = shifted.replace(
        positions=shifted.positions + torch.tensor([0, -0.35, 0, 0], dtype=torch.float64)[:, None]
    )
    bad = [
        (nan, ("invalid", "E-POSITION-NOT-FINITE")),
        (overlap, ("invalid", "E-ATOMS-CLOSE")),
        (vacuum, ("converged", "")),
        (fcc().replace(numbers=torch.tensor([29, 29, 0, 29])), ("invalid", "E-ELEMENT-UNKNOWN")),
        (fcc().replace(cell=torch.zeros(1, 3, 3, dtype=torch.float64)), ("invalid", "E-CELL-MISSING")),
        (rattled_fcc(6, PALLADIUM), ("max_steps", "E-RELAX-STEPS")),
        (fcc(GOLD, 3.9), ("diverged", "E-RESULT-NOT-FINITE")),
        (fcc(SILVER, 3.9), ("diverged", "E-RELAX-DIVERGED")),
        (shifted, ("diverged", "E-RELAX-DIVERGED")),
    ]
    structures, ends = [], {}
    for k in range(count):
        if k % 6 == 3:
            system, ends[k] = bad[(k // 6) % len(bad)]
            structures.append(system)
        else:
            structures.append(rattled_fcc(k, lattice_constant=3.5 + 0.03 * (k % 7), repeats=2 if k % 8 == 5 else 1))
    return System.batch(structures), ends
