"""The response of a polar crystal to a field: Born charges and the electronic dielectric tensor, from outside.

A short-ranged potential has no macroscopic field, so the splitting of longitudinal from transverse modes comes from
these: computed by density functional perturbation theory, or published.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import OptionError, System

NEUTRAL = 0.2
"""e per cell; a larger sum of Born charges is no rounding."""


@dataclass(frozen=True, eq=False)
class DielectricResponse:
    """Z*_κ (e; rows the field or polarisation, columns the displacement) of every atom of the cell as given, and ε∞.

    source says where they come from and is recorded with every result.
    """

    born_charges: Float[Tensor, "atom 3 3"]
    epsilon: Float[Tensor, "3 3"]
    source: str

    @classmethod
    def isotropic(cls, charges: list[float], epsilon: float, source: str) -> "DielectricResponse":
        """A cubic crystal: one number per atom and one for the crystal."""
        one = torch.eye(3, dtype=torch.float64)
        return cls(torch.tensor(charges, dtype=torch.float64)[:, None, None] * one, epsilon * one, source)


def fitted(response: DielectricResponse, single: System) -> tuple[DielectricResponse, tuple[str, ...]]:
    """The response made neutral, with a note of what that took; refused where it is not that of this crystal."""
    charges, epsilon = response.born_charges, response.epsilon
    if charges.shape[0] != single.n_atoms:
        raise OptionError(
            "E-BORN-CHARGES",
            f"Born charges of {charges.shape[0]} atoms were given for a cell of {single.n_atoms}",
            fix="give one tensor per atom of the structure, in its order",
        )
    if not bool(torch.isfinite(charges).all()) or not bool(torch.linalg.eigvalsh(epsilon + epsilon.T).min() >= 2.0):
        raise OptionError(
            "E-BORN-CHARGES",
            "Born charges are not finite, or the dielectric tensor has an eigenvalue below 1",
            why="no material screens less than vacuum",
            fix="check order and unit of what was read",
        )
    excess = charges.sum(dim=0)
    if float(excess.abs().max()) > NEUTRAL:
        raise OptionError(
            "E-BORN-CHARGES",
            f"Born charges of the cell add up to {float(excess.abs().max()):.3g} e",
            why="a crystal that moves as a whole makes no polarisation",
            fix="check signs and order of the atoms",
        )
    neutral = DielectricResponse(charges - excess / charges.shape[0], epsilon, response.source)
    if float(excess.abs().max()) < 1e-6:
        return neutral, ()
    return neutral, (f"Born charges added up to {float(excess.abs().max()):.2g} e and were made neutral",)
