"""Forces and stress are derivatives of the energy: compared with finite differences of the energy itself.

Each direction moves every coordinate (or strain component) by ±t at once, signs at random: for an error e of the
gradient the deviation along it is Σ ±e_k, of the size of |e| whatever the number of atoms, so a few directions see any
error. The odd part of E(t) at several t is fitted by a₁t + a₃t³ + a₅t⁵; a₁ is the derivative. Float64 takes steps so
short that a jump of the third derivative, which a polynomial switch has at its end, stays below the tolerance; float32
takes them sixty times as long, because its energies of 10 eV are uncertain by 1e-6 eV.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import System
from groundstate.laws.answers import largest
from groundstate.laws.precision import Precision
from groundstate.laws.result import Deviation, LawResult, verdict
from groundstate.laws.specimens import Specimens
from groundstate.potentials import Potential, evaluate

DIRECTIONS = 3
STEPS = 6


def forces(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Forces are −∂E/∂r, in every kind of cell."""
    generator = specimens.generator()
    deviations = []
    for name, system in specimens.structures.items():
        given = evaluate(potential, system, ("forces",))["forces"].to("cpu", torch.float64)
        for _ in range(DIRECTIONS):
            direction = _signs(generator, system.n_atoms, 3)
            there = direction.to(system.device)
            steps = _steps(precision.displacement)
            copies = [system.replace(positions=system.positions + t * there) for t in steps.tolist()]
            slope = _slope(_energies(potential, copies), steps)
            tolerance = precision.differences * max(0.1, float(given.abs().max()))
            deviations.append(Deviation("forces", name, largest(slope + (given * direction).sum()), tolerance, "eV/Å"))
    return verdict("forces", deviations)


def stress(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """The strain gradient is ∂E/∂ε in the periodic subspace and 0 outside it; stress is it over |V|, + in tension."""
    generator = specimens.generator()
    deviations = []
    for name, system in specimens.structures.items():
        gradient = evaluate(potential, system, ("strain_gradient",))["strain_gradient"][0].to("cpu", torch.float64)
        basis = _periodic_basis(system)
        tolerance = precision.differences * max(0.1 * system.n_atoms, float(gradient.abs().max()))
        for strain in _strains(generator, basis):
            steps = _steps(precision.displacement / 3)
            slope = _slope(_energies(potential, [_strained(system, t * strain) for t in steps.tolist()]), steps)
            found = largest(slope - (gradient * strain).sum())
            deviations.append(Deviation("strain gradient", name, found, tolerance, "eV"))
            if _has_stress(system):
                sigma = evaluate(potential, system, ("stress",))["stress"][0].to("cpu", torch.float64)
                volume = abs(float(torch.linalg.det(system.cell[0].cpu())))
                found = largest(slope - volume * (sigma * strain).sum())
                deviations.append(Deviation("stress × |V|", name, found, tolerance, "eV"))
        inside = basis.T @ basis
        outside = largest(gradient - inside @ gradient @ inside)
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


def _steps(reach: float) -> Float[Tensor, " step"]:
    """−reach … reach without 0, in mirrored pairs."""
    ahead = reach * torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    return torch.cat([ahead, -ahead])


def _energies(potential: Potential, copies: list[System]) -> Float[Tensor, " step"]:
    found = evaluate(potential, System.batch(copies), ("energy",))["energy"]
    return found.to("cpu", torch.float64)


def _slope(energies: Float[Tensor, " step"], steps: Float[Tensor, " step"]) -> Tensor:
    """dE/dt at 0 from energies at mirrored steps, by least squares on the odd part."""
    odd = 0.5 * (energies[:STEPS] - energies[STEPS:])
    t = steps[:STEPS] / steps[STEPS - 1]
    if not torch.isfinite(odd).all():
        return torch.tensor(float("nan"), dtype=torch.float64)
    powers = torch.stack([t, t**3, t**5], dim=1)
    return torch.linalg.lstsq(powers, odd[:, None]).solution[0, 0] / steps[STEPS - 1]
