"""Records whose energies, forces and stresses belong together to the last digit, for tests that then spoil them."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from groundstate.atoms import System
from groundstate.data import Provenance, Record
from groundstate.potentials import evaluate
from toys import fcc, lennard_jones


def labelled(systems: list[System], *, tags: Mapping[str, str] | None = None, file: str = "toy.extxyz") -> list[Record]:
    """Each structure with the labels of a pair potential."""
    values = evaluate(lennard_jones(), System.batch(systems), ("energy", "forces", "stress"))
    ends = values["forces"].split([system.n_atoms for system in systems])
    return [
        Record(
            system,
            {
                "energy": values["energy"][i].detach(),
                "forces": ends[i].detach(),
                "stress": values["stress"][i].detach(),
            },
            provenance=Provenance(file, i, {}, dict(tags or {})),
        )
        for i, system in enumerate(systems)
    ]


def rattled(
    count: int, *, seed: int, amplitude: float = 0.04, strain: float = 0.0, numbers: tuple[int, ...] = (29,)
) -> list[System]:
    """fcc cells of 32 atoms around one geometry, displaced by `amplitude` Å and strained, elements in turn."""
    draw = torch.Generator().manual_seed(seed)
    perfect = fcc(repeats=2, lattice_constant=3.58)
    z = torch.tensor([numbers[i % len(numbers)] for i in range(perfect.n_atoms)])
    systems = []
    for _ in range(count):
        moved = perfect.positions + amplitude * torch.randn(
            perfect.positions.shape, generator=draw, dtype=torch.float64
        )
        bent = torch.eye(3, dtype=torch.float64) + strain * torch.randn(3, 3, generator=draw, dtype=torch.float64)
        bent = 0.5 * (bent + bent.T)
        systems.append(System.single(moved @ bent, z, cell=perfect.cell[0] @ bent, pbc=True))
    return systems


def shuffled(systems: list[System], seed: int = 0) -> list[System]:
    """Atoms of each structure in an order of its own, so that no step leads from one frame to another."""
    draw = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(system.n_atoms, generator=draw) for system in systems]
    return [
        s.replace(positions=s.positions[o], numbers=s.numbers[o], masses=s.masses[o])
        for s, o in zip(systems, orders, strict=True)
    ]


def relabelled(
    records: list[Record], name: str, change: Callable[[Record, torch.Tensor], torch.Tensor]
) -> list[Record]:
    """The records with one label changed."""
    return [replace(r, labels={**r.labels, name: change(r, r.labels[name])}) for r in records]
