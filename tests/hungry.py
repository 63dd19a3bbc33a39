"""A potential whose appetite for memory is known, and, run as a script, what a new process measures of it.

In a process that has computed before, the allocator hands out what it kept, and the resident size says little.
"""

import json

import torch

from groundstate.atoms import Domain, System
from groundstate.potentials import Potential
from groundstate.simulation import memory
from groundstate.simulation.engine import Engine
from toys import fcc, lennard_jones


class Hungry(Potential):
    """Takes 1 MB for each atom and 10 kB for each edge while it computes."""

    domain, cutoff, theories = Domain(), 4.5, ()

    def __init__(self) -> None:
        super().__init__()
        self.inner = lennard_jones(cutoff=4.5)

    def describe(self):
        return {"kind": "toy-hungry"}

    def forward(self, system, geometry):
        taken = torch.ones(1_000_000 * system.n_atoms + 10_000 * geometry.graph.n_edges, dtype=torch.uint8)
        energy = self.inner(system, geometry)
        assert len(taken) > 0
        return energy


def measured() -> dict[str, float]:
    """Bytes of an atom as measured and as they are; atoms that fit where 40 MB are available."""
    crystals = [fcc(lattice_constant=3.6), fcc(lattice_constant=3.6, repeats=2), fcc(lattice_constant=4.4)]
    cost = memory.measured(Hungry(), System.batch(crystals), ("energy", "forces"))
    assert cost is not None, "the size of this process cannot be read"
    edges = max(Engine(Hungry(), 0.0).neighbours.graph(one).n_edges / one.n_atoms for one in crystals)
    memory.available = lambda device: 40_000_000
    told = memory.forecast(Hungry(), System.batch([crystals[1]] * 3), ("energy", "forces"))
    return {
        "measured": cost.of_an_atom,
        "taken": 1_000_000 + 10_000 * edges,
        "fit": float(told.atoms or 0),
        "message": told.message,  # type: ignore[dict-item]
    }


if __name__ == "__main__":
    print(json.dumps(measured()))  # noqa: T201 — what the test reads
