"""A pair potential that can learn in milliseconds, and the analytic one it learns."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from groundstate.atoms import Geometry, System
from groundstate.data import Provenance, Record
from groundstate.potentials import Energy, Model, Potential, ReferenceEnergies, Term, evaluate
from toys import fcc, lennard_jones

CUTOFF = 4.5


class LearnablePair(Term):
    """½ Σ_pairs Σ_k c_k exp(−(r − r_k)²/2w²)·(1 − (r/r_c)²)³ with learnable c."""

    def __init__(self, basis: int, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self.cutoff = CUTOFF
        generator = torch.Generator().manual_seed(seed)
        start = 0.01 * torch.randn(basis, generator=generator, dtype=torch.float64)
        self.coefficients = nn.Parameter(start.to(dtype))
        self.register_buffer("centres", torch.linspace(1.9, CUTOFF, basis, dtype=dtype))

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        edges, centres = geometry.edges(CUTOFF), self.get_buffer("centres")
        r = edges.distances.to(centres.dtype)
        width = centres[1] - centres[0]
        bumps = torch.exp(-0.5 * ((r[:, None] - centres) / width) ** 2)
        switch = (1 - (r / CUTOFF) ** 2).clamp_min(0.0) ** 3
        return Energy.of_atoms(system, 0.5 * edges.sum_to_receivers(switch * (bumps @ self.coefficients)))


def learner(basis: int = 12, dtype: torch.dtype = torch.float32, seed: int = 0, reference: float = 0.0) -> Potential:
    """An untrained pair potential for copper."""
    terms = {"references": ReferenceEnergies([{29: reference}]), "pair": LearnablePair(basis, dtype, seed)}
    return Model(None, {}, terms, description={"kind": "toy-learner", "basis": basis, "dtype": str(dtype)})


def copper(frames: int, seed: int, labels: tuple[str, ...] = ("energy", "forces", "stress")) -> list[Record]:
    """Rattled and strained fcc cells of 4 atoms labelled by a Lennard-Jones potential within the learner's cutoff."""
    teacher, generator = lennard_jones(cutoff=CUTOFF), torch.Generator().manual_seed(seed)
    records = []
    for frame in range(frames):
        perfect = fcc(29, 3.6)
        noise = torch.randn(4, 3, generator=generator, dtype=torch.float64)
        strain = torch.eye(3, dtype=torch.float64) + 0.03 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
        system = perfect.replace(positions=(perfect.positions + 0.08 * noise) @ strain, cell=perfect.cell @ strain)
        found = evaluate(teacher, system, labels)
        singles = {n: v if n == "forces" else v[0] for n, v in found.items()}
        records.append(Record(system, singles, provenance=Provenance("copper.xyz", frame)))
    return records
