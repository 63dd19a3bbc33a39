"""Forces and stress are derivatives of the energy: compared with finite differences of the energy itself.

Each direction moves every coordinate (or strain component) by ±t at once, signs at random: for an error e of the
gradient the deviation along it is Σ ±e_k, of the size of |e| whatever the number of atoms, so a few directions see any
error. The odd part of E(t) at several t is fitted by a₁t + a₃t³ + a₅t⁵; a₁ is the derivative. Steps are short, 1e-4 Å
at most in float64, because switches have kinks in higher derivatives and some networks are rough on a scale of 0.01 Å;
float32 takes them twenty times as long, because its energies of 10 eV are uncertain by 1e-6 eV.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import System
from groundstate.laws.answers import magnitude, scale_of
from groundstate.laws.noise import energy_noise
from groundstate.laws.precision import Precision
from groundstate.laws.result import Deviation, LawResult, verdict
from groundstate.laws.specimens import Specimens
from groundstate.potentials import Potential, evaluate

DIRECTIONS = 3
PAIRS = 6
"""Displacements to either side."""


@dataclass(frozen=True, eq=False)
class _Stencil:
    """A derivative at 0 as a weighted sum of energies at mirrored displacements t."""

    displacements: Float[Tensor, " point"]
    weights: Float[Tensor, " point"]

    @classmethod
    def reaching(cls, reach: float) -> "_Stencil":
        """PAIRS displacements to either side, the furthest at `reach`."""
        t = torch.arange(1, PAIRS + 1, dtype=torch.float64) / PAIRS
        odd = torch.linalg.pinv(torch.stack([t, t**3, t**5], dim=1))[0] / (2 * reach)
        return cls(reach * torch.cat([t, -t]), torch.cat([odd, -odd]))

    def slope(self, energies: Float[Tensor, " point"]) -> float:
        """dE/dt"""
        return float(self.weights @ energies)

    def error(self, noise: float) -> float:
        """Standard error of the slope for independent noise of the energies."""
        return noise * float(torch.linalg.vector_norm(self.weights))


def forces(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Forces are −∂E/∂r, in every kind of cell."""
    generator, stencil = specimens.generator(), _Stencil.reaching(precision.displacement)
    deviations = []
    for name, system in specimens.structures.items():
        given = evaluate(potential, system, ("forces",))["forces"].to("cpu", torch.float64)
        tolerance = precision.differences * scale_of(given) + 6 * stencil.error(energy_noise(potential, system))
        for _ in range(DIRECTIONS):
            direction = _signs(generator, system.n_atoms, 3)
            there = direction.to(system.device)
            copies = [system.replace(positions=system.positions + t * there) for t in stencil.displacements.tolist()]
            found = magnitude(stencil.slope(_energies(potential, copies)) + (given * direction).sum())
            deviations.append(Deviation("forces", name, found, tolerance, "eV/Å"))
    return verdict("forces", deviations)


def stress(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """The strain gradient is ∂E/∂ε in the periodic subspace and 0 outside it; stress is it over |V|, + in tension."""
    generator, stencil = specimens.generator(), _Stencil.reaching(precision.displacement / 3)
    deviations = []
    for name, system in specimens.structures.items():
        gradient = evaluate(potential, system, ("strain_gradient",))["strain_gradient"][0].to("cpu", torch.float64)
        basis = _periodic_basis(system)
        stiffness = scale_of(gradient, least=0.1 * system.n_atoms)
        tolerance = precision.differences * stiffness + 6 * stencil.error(energy_noise(potential, system))
        claims = {"strain gradient": gradient}
        if _has_stress(system):
            given = evaluate(potential, system, ("stress",))["stress"][0].to("cpu", torch.float64)
            claims["stress × |V|"] = given * abs(float(torch.linalg.det(system.cell[0].cpu())))
        for strain in _strains(generator, basis):
            copies = [_strained(system, t * strain) for t in stencil.displacements.tolist()]
            slope = stencil.slope(_energies(potential, copies))
            for quantity, claimed in claims.items():
                found = magnitude(slope - (claimed * strain).sum())
                deviations.append(Deviation(quantity, name, found, tolerance, "eV"))
        inside = basis.T @ basis
        outside = magnitude(gradient - inside @ gradient @ inside)
        deviations.append(Deviation("strain gradient along open directions", name, outside, tolerance, "eV"))
    return verdict("stress", deviations)


def _has_stress(system: System) -> bool:
    return bool(system.pbc.any()) and float(system.volume[0]) > 1e-3


def _signs(generator: torch.Generator, *shape: int) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator).to(torch.float64) - 1.0


def _periodic_basis(system: System) -> Float[Tensor, "period 3"]:
    """Orthonormal rows spanning the periodic lattice vectors, by Gram–Schmidt: not the way `derive` does it."""
    rows: list[Tensor] = []
    for vector in system.cell[0].cpu()[system.pbc[0].cpu()]:
        for row in rows:
            vector = vector - (vector @ row) * row
        rows.append(vector / torch.linalg.vector_norm(vector))
    return torch.stack(rows) if rows else torch.zeros(0, 3, dtype=torch.float64)


def _strains(generator: torch.Generator, basis: Float[Tensor, "period 3"]) -> list[Float[Tensor, "3 3"]]:
    """Symmetric strains within the basis, every component of which is ±1; none for a molecule."""
    periods = basis.shape[0]
    strains = []
    for _ in range(DIRECTIONS if periods else 0):
        upper = torch.triu(_signs(generator, periods, periods))
        strains.append(basis.T @ (upper + torch.triu(upper, 1).T) @ basis)
    return strains


def _strained(system: System, strain: Float[Tensor, "3 3"]) -> System:
    deformation = (torch.eye(3, dtype=torch.float64) + strain).to(system.device)
    return system.replace(positions=system.positions @ deformation, cell=system.cell @ deformation)


def _energies(potential: Potential, copies: list[System]) -> Float[Tensor, " point"]:
    found = evaluate(potential, System.batch(copies), ("energy",))["energy"]
    return found.to("cpu", torch.float64)
