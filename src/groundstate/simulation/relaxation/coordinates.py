"""The space a relaxation moves in: atoms and cells of a batch together."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A point, a velocity or a force in the space a relaxation moves in: a row per atom and three rows per cell."""

    atoms: Float[Tensor, "atom 3"]
    cell: Float[Tensor, "system 3 3"]

    def dot(self, other: "Coordinates", owner: Int[Tensor, " atom"]) -> Float[Tensor, " system"]:
        """Scalar product of each structure."""
        cells = (self.cell * other.cell).sum(dim=(1, 2))
        return cells.index_add(0, owner, (self.atoms * other.atoms).sum(dim=1))

    def scaled(self, factor: Float[Tensor, " system"], owner: Int[Tensor, " atom"]) -> "Coordinates":
        """Each structure times its own number."""
        return Coordinates(self.atoms * factor[owner, None], self.cell * factor[:, None, None])

    def __add__(self, other: "Coordinates") -> "Coordinates":
        return Coordinates(self.atoms + other.atoms, self.cell + other.cell)

    def within(self, length: Float[Tensor, " system"], owner: Int[Tensor, " atom"]) -> "Coordinates":
        """Shortened so that no row is longer than this."""
        return self.scaled((length / self.longest_row(owner).clamp_min(1e-300)).clamp_max(1.0), owner)

    def longest_row(self, owner: Int[Tensor, " atom"]) -> Float[Tensor, " system"]:
        """The largest length of a row of each structure."""
        cells = torch.linalg.vector_norm(self.cell, dim=2).amax(dim=1)
        return cells.scatter_reduce(0, owner, torch.linalg.vector_norm(self.atoms, dim=1), "amax")
