"""How near a model was shown two elements."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
        self.register_buffer("nearest", torch.zeros(len(self._elements) ** 2, dtype=dtype))  # Å; 0: not told yet

    @torch.no_grad()
    def know(self, nearest: Float[Tensor, "number number"]) -> None:
        """Of each two elements, by atomic number, the distance in Å that is taught; the nearer of this and before."""
        before, told = self.get_buffer("nearest"), nearest[self._elements][:, self._elements].reshape(-1)
        before.copy_(torch.where(before > 0, torch.minimum(before, told.to(before)), told.to(before)))

    def distances(self) -> Float[Tensor, " pair"]:
        """Å of every pair, class_i · classes + class_j; ∞ of pairs that never met, 0 of all where nothing was told."""
        return self.get_buffer("nearest")
