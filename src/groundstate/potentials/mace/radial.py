"""Functions of one distance: a coordinate that suits every pair of elements, a basis in it, a network on the basis."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundstate.atoms.elements import element
from groundstate.equivariant import Constant, unit_normal
from groundstate.potentials.mace.config import Envelope, HeldBy, MACEConfig
from groundstate.potentials.nearest import TRUSTED, Nearest
from groundstate.potentials.switch import polynomial_switch

SILU_SCALE = 1.0 / math.sqrt(0.3557755)
"""Makes SiLU of a standard normal number have unit second moment."""
FADE_FROM, FADE_TO = 0.75, 0.5
"""Fractions of the sum of covalent radii between which a neighbour fades out towards contact: below half of it only the
nuclear repulsion is left whatever the weights, above three quarters lie the bonds of nearly everything."""
CLOSING = 0.06
"""Of the distance where `Hold` begins: the range in which it closes."""
AGNESI = (0.9183, 4.5791, 1.0805)
"""q, p and a of `agnesi`."""
SOFT = 4.0
"""α of `soft`."""
_PLACES = 64
"""Distances at which the size of a bent basis is taken."""
BEND = 2.0
"""Sums of covalent radii at which s/(2 + s) has bent halfway."""


class DistanceTransform(nn.Module):
    """x(r; Z_i, Z_j) in [0, 1], the only coordinate radial functions see: x = 1 at the cutoff whatever the elements.

    "covalent": with s = r/(R_i + R_j), R covalent radii,

        x = [s/(2 + s)] / [s_c/(2 + s_c)],  s_c = s at the cutoff.

    Monotone and smooth; bonds of all elements come near each other, with more than twice the resolution of distances
    near the cutoff. A simple member of the transforms of Agnesi type used in the atomic cluster expansion (Witt et al.,
    J. Chem. Phys. 159, 164101 (2023)).
    Every other kind: x = r/r_c.
    """

    def __init__(self, config: MACEConfig, elements: Sequence[int]) -> None:
        super().__init__()
        self.kind, self.cutoff = config.distance_transform, config.cutoff
        radii = torch.tensor([element(z).covalent_radius for z in elements], dtype=torch.float64)
        self.sums = (radii[:, None] + radii[None, :]).reshape(-1)
        self._sums = Constant(self.sums.numpy())

    def forward(
        self, distances: Float[Tensor, " slot"], pairs: Int[Tensor, " slot"]
    ) -> tuple[Float[Tensor, " slot"], Float[Tensor, " slot"]]:
        """x and s of distances in Å; `pairs` = class_i · classes + class_j."""
        sums = self._sums.like(distances)
        s = distances / sums[pairs]
        if self.kind != "covalent":
            return distances / self.cutoff, s
        at_cutoff = self.cutoff / (BEND * sums + self.cutoff)
        return s / (BEND + s) / at_cutoff[pairs], s


def envelope(x: Float[Tensor, " slot"], power: int, kind: Envelope = "cubic") -> Float[Tensor, " slot"]:
    """Step from 1 at x = 0 to exactly 0 from x = 1 on: value, slope and curvature vanish there.

    "cubic": (1 − x^p)³. "polynomial": `polynomial_switch`.
    """
    if kind == "polynomial":
        return polynomial_switch(x, power)
    return (1.0 - x**power).clamp_min(0.0) ** 3


def fade(s: Float[Tensor, " slot"]) -> Float[Tensor, " slot"]:
    """Step from 0 at s ≤ 0.5 to 1 at s ≥ 0.75, twice continuously differentiable.

    Checked: tests/potentials/test_mace_radial.py
    """
    t = ((s - FADE_TO) / (FADE_FROM - FADE_TO)).clamp(0.0, 1.0)
    return t * t * t * (10.0 + t * (6.0 * t - 15.0))


class Hold(Nearest):
    """The distance at which a neighbour is felt: its own, but hardly less than the training data know.

    With h the distance where holding begins, w = CLOSING and u = (r/h − 1 + w)/w,

        r for u ≥ 1,   h [1 − w/2 + w (u³ − u⁴/2)] for 0 < u < 1,   h [1 − w/2] for u ≤ 0,

    twice continuously differentiable and never falling. h is TRUSTED · the nearest distance in the training data, `by`
    element or by pair as `HeldBy` says, but no longer than the sum of covalent radii, where nuclear repulsion begins at
    the latest, and no shorter than FADE_TO of it, where nothing is left to hold. So what a network has learned ends
    where its data end, flat, and a term that repels whatever the weights goes on alone: energies of atoms pushed
    together would otherwise be extrapolations. By element, because what hot pairs taught a network holds for others of
    these elements too (measured: docs/training.md). Structures of the training data are not affected.
    Checked: tests/potentials/test_mace_hold.py
    """

    def __init__(self, elements: Sequence[int], dtype: torch.dtype, by: HeldBy = "element") -> None:
        super().__init__(elements, dtype)
        self.by = by

    def begins(self) -> Float[Tensor, " pair"]:
        """h in Å of every pair, class_i · classes + class_j."""
        shares = self.daring()
        if self.by == "pair":
            own = self.shares()
            shares = torch.where(own.isfinite(), own, shares)
        return ((TRUSTED * shares).clamp(FADE_TO, 1.0) * self.sums.like(shares)).reshape(-1)

    def forward(self, distances: Float[Tensor, " slot"], pairs: Int[Tensor, " slot"]) -> Float[Tensor, " slot"]:
        """Felt distances in Å."""
        begins = self.begins().to(distances.dtype)[pairs]
        u = ((distances / begins - 1.0 + CLOSING) / CLOSING).clamp_min(0.0)
        held = begins * (1.0 - CLOSING / 2 + CLOSING * u**3 * (1.0 - u / 2))
        return torch.where(u < 1.0, held, distances)


def bessel_basis(x: Float[Tensor, " slot"], count: int) -> Float[Tensor, "slot basis"]:
    """a sin(nπx)/(nx), n = 1 … count; a gives the basis the norm it would have without the weights 1/n.

    The weights make radial functions smooth before training, and forces of the order of the energies. Source, but for
    them: Gasteiger et al., DimeNet, ICLR 2020 (arXiv:2003.03123), eq. 7. Checked: tests/potentials/test_mace.py
    """
    n = torch.arange(1, count + 1, dtype=x.dtype, device=x.device)
    return torch.sin(x[:, None] * (math.pi * n)) * (bessel_amplitude(count) / n) / x[:, None]


def bessel_amplitude(count: int) -> float:
    """a of `bessel_basis`."""
    return math.sqrt(2.0 * count / sum(k**-2 for k in range(1, count + 1)))


def agnesi(s: Float[Tensor, " slot"]) -> Float[Tensor, " slot"]:
    """1/(1 + a u^q/(1 + u^(q−p))) with u = 2s, s = r/(R_i + R_j); falls from 1 at contact, steepest near a bond.

    Source: Witt et al., J. Chem. Phys. 159, 164101 (2023), with the p, q and a that MACE models are trained with.
    """
    q, p, a = AGNESI
    u = 2.0 * s
    return 1.0 / (1.0 + a * u**q / (1.0 + u ** (q - p)))


def soft(s: Float[Tensor, " slot"]) -> Float[Tensor, " slot"]:
    """s held at ¾ below a bond and let go above it: ¾ + (s − ¾)·½(1 + tanh(α (s − m)/(4/3 − ¾))), m their middle."""
    low, high = 3 / 4, 4 / 3
    return low + (s - low) * 0.5 * (1.0 + torch.tanh(SOFT * (s - (low + high) / 2) / (high - low)))


class RadialFunctions(nn.Module):
    """What a network reads of a distance: functions of one coordinate x, a table for each kind of pair, and the fade.

    A weight of the tensor product is fade(s) · R(x), R = `RadialNetwork` of `basis(x, table)`; so for each table it is
    a function of x in [0, 1] alone, zero from x = 1 on, and can be tabulated. There is one table for all pairs, or one
    for each unordered pair of elements where the basis sees a bent distance:

        "agnesi": Bessel functions of `agnesi`(s)/r_c (it has no unit, and is read as if it were Å)
        "soft":   Bessel functions of (R_i + R_j) `soft`(s)/r_c

    with s = r/(R_i + R_j); the envelope sees x = r/r_c. Where the model holds at the nearest distance it was taught, r
    in x is that of `Hold`. Checked: tests/potentials/test_mace_radial.py
    """

    def __init__(self, config: MACEConfig, elements: Sequence[int]) -> None:
        super().__init__()
        self.config, self.transform = config, DistanceTransform(config, elements)
        dtype = getattr(torch, config.dtype)
        self.hold = Hold(elements, dtype, config.held_by) if config.hold_at_nearest else None
        n = len(elements)
        first, second = np.triu_indices(n)
        table_of_pair = np.zeros((n, n), dtype=np.int64)
        self.n_tables = 1
        if config.distance_transform in ("agnesi", "soft"):
            table_of_pair[first, second] = table_of_pair[second, first] = np.arange(len(first))
            self.n_tables = len(first)
        self.register_buffer("table_of_pair", torch.from_numpy(table_of_pair.reshape(-1)), persistent=False)
        radii = np.array([element(z).covalent_radius for z in elements])
        self._sums = Constant(radii[first] + radii[second])

    def forward(
        self, distances: Float[Tensor, " slot"], pairs: Int[Tensor, " slot"]
    ) -> tuple[Float[Tensor, "slot basis"], Float[Tensor, "slot 1"]]:
        """What `RadialNetwork` takes, for distances in Å; `pairs` = class_i · classes + class_j."""
        x, table, factor = self.place(distances, pairs)
        basis, strength = self.basis(x, table)
        return basis, strength if factor is None else strength * factor[:, None]

    def place(
        self, distances: Float[Tensor, " slot"], pairs: Int[Tensor, " slot"]
    ) -> tuple[Float[Tensor, " slot"], Int[Tensor, " slot"], Float[Tensor, " slot"] | None]:
        """Coordinate, table, and fade (`None` where neighbours do not fade) of distances in Å."""
        x, s = self.transform(distances, pairs)
        if self.hold is not None:
            x, _ = self.transform(self.hold(distances, pairs), pairs)
        return x, self.get_buffer("table_of_pair")[pairs], fade(s) if self.config.fade_at_contact else None

    def basis(
        self, x: Float[Tensor, " slot"], table: Int[Tensor, " slot"]
    ) -> tuple[Float[Tensor, "slot basis"], Float[Tensor, "slot 1"]]:
        """The same as functions of the coordinate, before fading."""
        config = self.config
        strength = envelope(x, config.cutoff_power, config.envelope)[:, None]
        functions = bessel_basis(self._bent(x, table), config.radial_basis)
        if config.envelope_at == "basis":
            return functions * strength, torch.ones_like(strength)
        return functions, strength

    @torch.no_grad()
    def excess(self) -> float:
        """How many times larger a bent basis is than one of r/r_c, from three quarters of a contact to the cutoff: by
        this the first map of an untrained network is drawn smaller. 1 where the basis is not bent."""
        if self.config.distance_transform in ("covalent", "linear"):
            return 1.0
        tables = torch.arange(self.n_tables)
        lowest = FADE_FROM * self._sums.like(torch.empty(0, dtype=torch.float64)) / self.config.cutoff
        x = lowest + (1.0 - lowest) * torch.linspace(0.0, 1.0, _PLACES, dtype=torch.float64)[:, None]
        bent = self._bent(x.flatten(), tables.expand(_PLACES, -1).flatten())
        large, usual = (bessel_basis(r, self.config.radial_basis).square().mean().sqrt() for r in (bent, x.flatten()))
        return float(large / usual)

    def _bent(self, x: Float[Tensor, " slot"], table: Int[Tensor, " slot"]) -> Float[Tensor, " slot"]:
        if self.config.distance_transform in ("covalent", "linear"):
            return x
        cutoff, sums = self.config.cutoff, self._sums.like(x)[table]
        s = x * cutoff / sums
        return agnesi(s) / cutoff if self.config.distance_transform == "agnesi" else sums * soft(s) / cutoff


class RadialNetwork(nn.Module):
    """Weights R[path, slot, channel] of a tensor product: a network without biases on the basis, times the envelope.

    The envelope enters before the last linear map, so every weight, its slope and its curvature vanish at the cutoff;
    where it has entered the basis already, the network without biases keeps that.
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
