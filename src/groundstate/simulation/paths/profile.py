"""The energy along a path, between its images: a cubic through energies and slopes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Profile:
    """Energy along a path. coordinate Å, length along the path · energy eV, from the first image · slope eV/Å.

    The cubic of each piece meets energies and slopes at both of its ends.
    Source: Henkelman, Jónsson, J. Chem. Phys. 113, 9978 (2000), appendix. Checked: tests/simulation/test_band.py
    """

    coordinate: Float[Tensor, " image"]
    energy: Float[Tensor, " image"]
    slope: Float[Tensor, " image"]

    def at(self, coordinate: Float[Tensor, " point"]) -> Float[Tensor, " point"]:
        """Energy anywhere on the path, eV."""
        piece = torch.searchsorted(self.coordinate, coordinate.contiguous()).clamp(1, len(self.coordinate) - 1) - 1
        width = self.coordinate[piece + 1] - self.coordinate[piece]
        t = (coordinate - self.coordinate[piece]) / width
        return (
            (2 * t**3 - 3 * t**2 + 1) * self.energy[piece]
            + (t**3 - 2 * t**2 + t) * width * self.slope[piece]
            + (3 * t**2 - 2 * t**3) * self.energy[piece + 1]
            + (t**3 - t**2) * width * self.slope[piece + 1]
        )

    def curve(self, points: int = 201) -> tuple[Float[Tensor, " point"], Float[Tensor, " point"]]:
        """Coordinate and energy at evenly spaced points."""
        s = torch.linspace(0.0, float(self.coordinate[-1]), points, dtype=torch.float64)
        return s, self.at(s)
