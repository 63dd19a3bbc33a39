"""Coordinates in which atoms and cell relax together: undeformed positions and the logarithm of the deformation."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import System
from groundstate.potentials import periodic_projector
from groundstate.simulation.relaxation.coordinates import Coordinates

CELL_MODES = ("fixed", "full", "shape", "isotropic")


@dataclass(frozen=True, eq=False)
class CellFilter:
    """The map between a structure and its relaxation coordinates (q, u).

    F = exp(u/n), cell = cell₀ F, r = q F, with n atoms and u symmetric, so that the cell never turns. Conjugate forces:
    f F for an atom, −(1/n) ∂(E + pV)/∂(u/n) for the cell, with the exact derivative of the matrix exponential. u stays
    in the periodic subspace, within `mask`, and is traceless (`shape`) or a multiple of the unit matrix (`isotropic`).

    origin cell₀ Å · pressure eV/Å³ · dilation the unit vector of uniform growth of the periods.
    Source: the variables of ASE's FrechetCellFilter; derivative: Higham, Functions of Matrices (2008), thm 3.11.
    Checked: tests/simulation/test_cell_filter.py (finite differences), test_relax.py (ASE).
    """

    origin: Float[Tensor, "system 3 3"]
    n_atoms: Float[Tensor, " system"]
    mask: Float[Tensor, "system 3 3"]
    dilation: Float[Tensor, "system 3 3"]
    pressure: Float[Tensor, " system"]
    mode: str

    def place(self, system: System, at: Coordinates) -> System:
        """The structure at these coordinates."""
        if self.mode == "fixed":
            return system.replace(positions=at.atoms)
        deformation = self.deformation(at)
        positions = _times(at.atoms, deformation[system.system_index])
        return system.replace(positions=positions, cell=self.origin @ deformation)

    def deformation(self, at: Coordinates) -> Float[Tensor, "system 3 3"]:
        """F"""
        logarithms, axes = self._axes(at)
        return (axes * logarithms.exp()[:, None, :]) @ axes.transpose(1, 2)

    def volume_ratio(self, at: Coordinates) -> Float[Tensor, " system"]:
        """det F; of a slab the ratio of areas."""
        return torch.exp(at.cell.diagonal(dim1=1, dim2=2).sum(dim=1) / self.n_atoms)

    def volume_work(self, system: System) -> Float[Tensor, " system"]:
        """pV in eV, 0 without pressure."""
        return self.pressure * system.volume

    def forces(
        self,
        system: System,
        at: Coordinates,
        forces: Float[Tensor, "atom 3"],
        strain_gradient: Float[Tensor, "system 3 3"],
    ) -> Coordinates:
        """Forces on (q, u) from forces (eV/Å) and strain gradient (eV)."""
        if self.mode == "fixed":
            return Coordinates(forces, torch.zeros_like(self.origin))
        identity = torch.eye(3, dtype=torch.float64, device=system.device)
        deformation = self.deformation(at)
        gradient = strain_gradient + self.volume_work(system)[:, None, None] * identity
        by_deformation = gradient @ torch.linalg.inv(deformation)
        # Daleckii–Krein: in the axes of u the derivative multiplies by (e^a − e^b)/(a − b), here without cancellation.
        logarithms, axes = self._axes(at)
        half_sum = 0.5 * (logarithms[:, :, None] + logarithms[:, None, :])
        half_gap = 0.5 * (logarithms[:, :, None] - logarithms[:, None, :])
        quotient = torch.where(half_gap == 0, 1.0, torch.sinh(half_gap) / torch.where(half_gap == 0, 1.0, half_gap))
        turned = axes.transpose(1, 2) @ by_deformation @ axes
        by_logarithm = axes @ (turned * half_sum.exp() * quotient) @ axes.transpose(1, 2)
        cell = -self._allowed(by_logarithm) / self.n_atoms[:, None, None]
        return Coordinates(_times(forces, deformation[system.system_index]), cell)

    def _axes(self, at: Coordinates) -> tuple[Tensor, Tensor]:
        """Eigenvalues and axes of u/n; torch's matrix_exp is wrong in the tenth digit for strains of some per cent."""
        eigenvalues, axes = torch.linalg.eigh(at.cell / self.n_atoms[:, None, None])
        return eigenvalues, axes

    def _allowed(self, gradient: Float[Tensor, "system 3 3"]) -> Float[Tensor, "system 3 3"]:
        gradient = 0.5 * (gradient + gradient.transpose(1, 2)) * self.mask
        growth = (gradient * self.dilation).sum(dim=(1, 2))[:, None, None] * self.dilation
        return {"full": gradient, "isotropic": growth, "shape": gradient - growth}[self.mode]


def _times(rows: Float[Tensor, "atom 3"], matrices: Float[Tensor, "atom 3 3"]) -> Float[Tensor, "atom 3"]:
    """Each row times its matrix."""
    return (rows[:, None, :] @ matrices)[:, 0]


def cell_filter(
    system: System, mode: str, mask: Bool[Tensor, "3 3"] | None, pressure: float
) -> tuple[CellFilter, Coordinates]:
    """The filter of a batch, whose present cells are the undeformed ones, and its coordinates."""
    allowed = torch.ones(3, 3) if mask is None else mask
    allowed = allowed.to(system.cell).expand_as(system.cell)
    dilation = allowed * periodic_projector(system)
    dilation = dilation / torch.linalg.matrix_norm(dilation).clamp_min(1e-300)[:, None, None]
    n_atoms = system.atoms_per_system.to(system.cell.dtype)
    held = CellFilter(system.cell, n_atoms, allowed, dilation, torch.full_like(n_atoms, pressure), mode)
    return held, Coordinates(system.positions, torch.zeros_like(system.cell))
