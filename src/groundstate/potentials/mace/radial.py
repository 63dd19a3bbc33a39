"""Functions of one distance: a coordinate that suits every pair of elements, a basis in it, a network on the basis."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundstate.atoms.elements import element
from groundstate.equivariant import Constant, unit_normal
from groundstate.potentials.mace.config import MACEConfig

SILU_SCALE = 1.0 / math.sqrt(0.3557755)
"""Makes SiLU of a standard normal number have unit second moment."""
FADE_FROM, FADE_TO = 0.75, 0.5
"""Fractions of the sum of covalent radii between which a neighbour fades out towards contact: below half of it only the
nuclear repulsion is left whatever the weights, above three quarters lie the bonds of nearly everything."""
_BEND = 2.0
"""Sums of covalent radii at which s/(2 + s) has bent halfway."""


class DistanceTransform(nn.Module):
    """x(r; Z_i, Z_j) in [0, 1], the only coordinate radial functions see: x = 1 at the cutoff whatever the elements.

    "covalent": with s = r/(R_i + R_j), R covalent radii,

        x = [s/(2 + s)] / [s_c/(2 + s_c)],  s_c = s at the cutoff.

    Monotone and smooth; bonds of all elements come near each other, with more than twice the resolution of distances
    near the cutoff. A simple member of the transforms of Agnesi type used in the atomic cluster expansion (Witt et al.,
    J. Chem. Phys. 159, 164101 (2023)).
    "linear": x = r/r_c.
    """

    def __init__(self, config: MACEConfig, elements: Sequence[int]) -> None:
        super().__init__()
        self.kind, self.cutoff = config.distance_transform, config.cutoff
        radii = torch.tensor([element(z).covalent_radius for z in elements], dtype=torch.float64)
        self._sums = Constant((radii[:, None] + radii[None, :]).reshape(-1).numpy())

    def forward(
        self, distances: Float[Tensor, " slot"], pairs: Int[Tensor, " slot"]
    ) -> tuple[Float[Tensor, " slot"], Float[Tensor, " slot"]]:
        """x and s of distances in Å; `pairs` = class_i · classes + class_j."""
        sums = self._sums.like(distances)
        s = distances / sums[pairs]
        if self.kind == "linear":
            return distances / self.cutoff, s
        at_cutoff = self.cutoff / (_BEND * sums + self.cutoff)
        return s / (_BEND + s) / at_cutoff[pairs], s


def envelope(x: Float[Tensor, " slot"], power: int) -> Float[Tensor, " slot"]:
    """(1 − x^p)³, exactly 0 from x = 1 on: value, slope and curvature vanish there."""
    return (1.0 - x**power).clamp_min(0.0) ** 3


def fade(s: Float[Tensor, " slot"]) -> Float[Tensor, " slot"]:
    """Step from 0 at s ≤ 0.5 to 1 at s ≥ 0.75, twice continuously differentiable.

    Checked: tests/potentials/test_mace_radial.py
    """
    t = ((s - FADE_TO) / (FADE_FROM - FADE_TO)).clamp(0.0, 1.0)
    return t * t * t * (10.0 + t * (6.0 * t - 15.0))


def bessel_basis(x: Float[Tensor, " slot"], count: int) -> Float[Tensor, "slot basis"]:
    """a sin(nπx)/(nx), n = 1 … count; a gives the basis the norm it would have without the weights 1/n.

    The weights make radial functions smooth before training, and forces of the order of the energies. Source, but for
    them: Gasteiger et al., DimeNet, ICLR 2020 (arXiv:2003.03123), eq. 7. Checked: tests/potentials/test_mace.py
    """
    n = torch.arange(1, count + 1, dtype=x.dtype, device=x.device)
    amplitude = math.sqrt(2.0 * count / sum(k**-2 for k in range(1, count + 1)))
    return torch.sin(x[:, None] * (math.pi * n)) * (amplitude / n) / x[:, None]


class RadialNetwork(nn.Module):
    """Weights R[path, slot, channel] of a tensor product: a network without biases on the basis, times the envelope.

    The envelope enters before the last linear map, so every weight, its slope and its curvature vanish at the cutoff.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        paths: int,
        channels: int,
        *,
        dtype: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        self.hidden = unit_normal(list(pairwise(sizes)), dtype, None, generator)
        self.last = unit_normal([(paths, sizes[-1], channels)], dtype, None, generator)[0]

    def forward(
        self, basis: Float[Tensor, "slot basis"], envelope: Float[Tensor, "slot 1"]
    ) -> Float[Tensor, "path slot channel"]:
        x = basis
        for weight in self.hidden:
            x = nn.functional.silu(x @ (weight / math.sqrt(len(weight)))) * SILU_SCALE
        return torch.bmm((x * envelope).expand(len(self.last), -1, -1), self.last / math.sqrt(self.last.shape[1]))
