"""How near a model was shown two elements."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from groundstate.atoms.elements import element
from groundstate.equivariant import Constant

TRUSTED = 0.97
"""Of the nearest distance in the training data: what a network says is followed as far as this. From further in,
energies that fall outside of the data would be followed into the hole."""


class Nearest(nn.Module):
    """The distance of the nearest atoms of each two elements in the training data, kept with the weights.

    Told before the first step (`training.nearest.take_nearest`). Below TRUSTED of it a network holds what it learned
    (`mace.Hold`), and nuclear repulsion takes over (`terms.ZBL`). Checked: tests/training/test_nearest.py
    """

    def __init__(self, elements: Sequence[int], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self._elements = list(elements)
        radii = torch.tensor([element(z).covalent_radius for z in elements], dtype=torch.float64)
        self.sums = Constant((radii[:, None] + radii).numpy())
        self.register_buffer("nearest", torch.zeros(len(self._elements) ** 2, dtype=dtype))  # Å; 0: not told yet

    @torch.no_grad()
    def know(self, nearest: Float[Tensor, "number number"]) -> None:
        """Of each two elements, by atomic number, the distance in Å that is taught; the nearer of this and before."""
        before, told = self.get_buffer("nearest"), nearest[self._elements][:, self._elements].reshape(-1)
        before.copy_(torch.where(before > 0, torch.minimum(before, told.to(before)), told.to(before)))

    def distances(self) -> Float[Tensor, "element element"]:
        """Å of every two elements; ∞ of those that never met, 0 of all where nothing was told."""
        return self.get_buffer("nearest").view(len(self._elements), -1)

    def shares(self) -> Float[Tensor, "element element"]:
        """The same in sums of covalent radii."""
        distances = self.distances()
        return distances / self.sums.like(distances)

    def daring(self) -> Float[Tensor, "element element"]:
        """In sums of covalent radii, as near as the more daring of two elements ever came to any."""
        nearest = self.shares().amin(dim=1)
        return torch.minimum(nearest[:, None], nearest)

    def usual(self) -> Float[Tensor, "element element"]:
        """In sums of covalent radii, as near as the more careful of two elements usually comes: the median over those
        that it met; ∞ where it met none."""
        shares = self.shares()
        median = torch.where(shares.isfinite(), shares, torch.nan).nanquantile(0.5, dim=1)
        return torch.maximum(median[:, None], median).nan_to_num(nan=torch.inf)
