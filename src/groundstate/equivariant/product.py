"""Equivariant layers in plain torch: tensor product, channel mixing, symmetric contraction.

They are the reference that faster kernels are compared with; every one can be differentiated any number of times.

Weights are drawn with unit variance and every layer scales its sum so that independent inputs of zero mean and unit
variance give outputs of unit variance; a width can then change without retuning the initial scale or learning rate.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundstate.equivariant.coupling import dense_coupling, natural_parity_paths
from groundstate.equivariant.experts import Mixture
from groundstate.equivariant.factorisation import Bilinear, factorise
from groundstate.equivariant.irreps import IrrepLayout

EXPERT_SPREAD = 0.5
"""Of experts at the start: each is √(1 − s²) of one common matrix and s of its own, so that a mixture keeps ¾ of the
variance of one matrix or more, and experts that start near each other move as one until the data tell them apart."""


class Constant:
    """A float64 array handed out in the dtype and on the device of a tensor, one copy for each.

    Not a buffer on purpose: a model trained in float32 and moved to float64 must get exact coefficients, not rounded
    ones, or it would stay equivariant to seven digits only.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, tensor: Tensor) -> Tensor:
        key = (tensor.dtype, tensor.device)
        if key not in self._copies:
            with torch.inference_mode(False):  # a copy first asked for during inference also serves training later
                self._copies[key] = torch.tensor(self._values, dtype=tensor.dtype, device=tensor.device)
        return self._copies[key]


class TensorProduct(nn.Module):
    """Couples each channel of a feature with spherical harmonics, along every natural-parity path.

    out[e, (l, m, path), c] = w[e, path, c] √(2l+1) Σ_ab C_abm h[e, a, c] Y[e, b], C of `coupling_coefficients`. No
    weights of its own: they come per edge, path and channel from a radial function. Rows lie as `layout` says and paths
    as `paths` lists them, so that `IrrepLinear(layout, …)` mixes (path, channel) → channel for each degree.

    Source: the A features of Batatia et al., MACE, NeurIPS 2022 (arXiv:2206.07697).
    Checked: tests/equivariant/test_product.py
    """

    path_of_row: Tensor

    def __init__(self, lmax_features: int, lmax_harmonics: int, lmax_out: int) -> None:
        super().__init__()
        self.paths = natural_parity_paths(lmax_harmonics, lmax_features, lmax_out)
        self.layout = IrrepLayout(tuple(sum(path.out == l for path in self.paths) for l in range(lmax_out + 1)))
        blocks = dense_coupling(self.paths, lmax_features, lmax_harmonics)
        rows = []
        for l in range(lmax_out + 1):
            of_degree = [block for path, block in zip(self.paths, blocks, strict=True) if path.out == l]
            rows += [block[m] for m in range(2 * l + 1) for block in of_degree]
        self._coupling = Constant(np.stack(rows))
        self.register_buffer("path_of_row", torch.from_numpy(self.layout.copy_of_row()), persistent=False)

    def forward(
        self,
        features: Float[Tensor, "edge irrep_in channel"],
        harmonics: Float[Tensor, "edge irrep_harmonic"],
        weights: Float[Tensor, "edge path channel"],
    ) -> Float[Tensor, "edge row channel"]:
        """Features of the sender, harmonics of the edge, weights of the edge → one tensor per path."""
        # Folding the harmonics in first leaves one small matrix per edge, shared by all channels.
        folded = torch.einsum("rab,eb->era", self._coupling.like(harmonics), harmonics)
        return (folded @ features) * weights[:, self.path_of_row]


class IrrepLinear(nn.Module):
    """Mixes copies and channels within each degree: [atom, row, channel_in] → [atom, irrep, channel_out].

    out[m] = Σ x[m] W_l / √(copies_l · channels_in). Degrees above `lmax_out` are dropped; a degree without copies comes
    out as zero. weights[l]: [copies_l · channels_in, channels_out], the copy running slowest; with `experts`, a stack
    of that many, of which the `mixture` given to each call says what W_l is.
    Checked: tests/equivariant/test_product.py, test_experts.py
    """

    def __init__(
        self,
        layout: IrrepLayout,
        channels_in: int,
        channels_out: int,
        *,
        lmax_out: int | None = None,
        experts: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layout, self.experts = layout, experts
        self.lmax_out = _checked_lmax_out(lmax_out, layout.lmax)
        self.channels_out = channels_out
        shapes = [(layout.copies[l] * channels_in, channels_out) for l in range(self.lmax_out + 1)]
        self.weights = unit_normal(shapes, dtype, device, generator)
        if experts:
            own = unit_normal([(experts, *shape) for shape in shapes], dtype, device, generator)
            common = math.sqrt(1.0 - EXPERT_SPREAD**2)
            self.weights = nn.ParameterList(
                nn.Parameter(common * one.detach() + EXPERT_SPREAD * several.detach())
                for one, several in zip(self.weights, own, strict=True)
            )

    def forward(
        self, features: Float[Tensor, "atom row channel_in"], scale: float = 1.0, mixture: Mixture | None = None
    ) -> Float[Tensor, "atom irrep channel_out"]:
        """`scale` times the map."""
        # Split, not sliced: the gradient of a slice is as large as the whole.
        rows = features.split([(2 * l + 1) * copies for l, copies in enumerate(self.layout.copies)], dim=1)
        blocks = [
            x.reshape(len(x), 2 * l + 1, w.shape[-2]) for l, (x, w) in enumerate(zip(rows, self.weights, strict=False))
        ]
        return torch.cat(self.mix(blocks, scale, mixture, atom_axis=0), dim=1)

    def mix(
        self, blocks: Sequence[Tensor], scale: float = 1.0, mixture: Mixture | None = None, *, atom_axis: int = 1
    ) -> list[Tensor]:
        """The same for degrees that are kept apart: blocks[l] is [..., copy·channel_in] → [..., channel_out].

        atom_axis: along which experts are mixed
        """
        if (mixture is None) == (self.experts > 0):
            raise ValueError(
                f"EQUIVARIANT_EXPERTS: a map with {self.experts} experts was asked "
                f"{'without' if mixture is None else 'with'} a mixture. Experts have a value only when mixed. "
                "Give a mixture exactly where there are experts."
            )
        made = []
        for block, weight in zip(blocks, self.weights, strict=True):
            normed = scale / math.sqrt(max(weight.shape[-2], 1))
            made.append(
                block @ (weight * normed) if mixture is None else mixture.product(block, weight, normed, atom_axis)
            )
        return made


class ClassedIrrepLinear(nn.Module):
    """Mixes channels within each degree with weights chosen by the class of the atom, such as its element.

    out[a, m] = x[a, m] W[class_a, l] / √channels_in. Degrees above `lmax_out` are dropped.
    weight: [class, degree, channel_in, channel_out]. Source: the skip connection of the update of Batatia et al., MACE,
    NeurIPS 2022 (arXiv:2206.07697). Checked: tests/equivariant/test_product.py
    """

    def __init__(
        self,
        lmax_in: int,
        channels_in: int,
        channels_out: int,
        classes: int,
        *,
        lmax_out: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.lmax_out = _checked_lmax_out(lmax_out, lmax_in)
        shape = (classes, self.lmax_out + 1, channels_in, channels_out)
        self.weight = unit_normal([shape], dtype, device, generator)[0]
        degree = np.repeat(np.arange(self.lmax_out + 1), 2 * np.arange(self.lmax_out + 1) + 1)
        _register_indices(self, degree=degree)

    def forward(
        self, features: Float[Tensor, "atom irrep_in channel_in"], classes: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom irrep_out channel_out"]:
        # One product per class on its own atoms: a weight gathered per atom would be channels² numbers for each.
        n_classes, _, channels_in, _ = self.weight.shape
        order = torch.argsort(classes, stable=True)
        counts = torch.bincount(classes, minlength=n_classes).tolist()
        present = [i for i, count in enumerate(counts) if count > 0] or [0]
        degree = self.get_buffer("degree")
        rows = features.transpose(0, 1)[: len(degree)].index_select(1, order)  # [irrep, atom, channel]
        groups = rows.split([counts[i] for i in present], dim=1)
        # All chosen at once: the gradient of one class of ninety is as large as that of all.
        chosen = self.weight.index_select(0, torch.tensor(present, device=classes.device)).index_select(1, degree)
        mixed = [group @ weight for weight, group in zip(chosen.unbind(0), groups, strict=True)]
        mixed_rows = torch.cat(mixed, dim=1).index_select(1, torch.argsort(order))
        return mixed_rows.transpose(0, 1) / math.sqrt(channels_in)


class SymmetricContraction(nn.Module):
    """Many-body features: an equivariant polynomial of A, up to order `correlation`, channel by channel.

    out[a, M, c] = Σ_η W_L[class_a, η, c] B̂_ηM(A[a, :, c]) / √(number of η), where η runs over the independent
    `symmetric_couplings` of orders 1, 2, … in that order, and B̂ is the coupling divided by its root mean square under
    standard normal A, which gives all orders the same weight at the start. weights[L]: [class, coupling, channel].

    Evaluated by `factorise`, irrep slowest in memory: rows are then long and contiguous. Cost does not depend on the
    number of classes.

    Source: Batatia et al., MACE, NeurIPS 2022 (arXiv:2206.07697). Checked: tests/equivariant/test_product.py
    """

    def __init__(
        self,
        lmax_in: int,
        lmax_out: int,
        correlation: int,
        channels: int,
        classes: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.lmax_in, self.lmax_out, self.correlation = lmax_in, lmax_out, correlation
        steps = factorise(lmax_in, lmax_out, correlation)
        self._lower = nn.ModuleList(_BilinearStep(step) for step in steps.lower)
        self._last = _BilinearStep(steps.last)
        merges = steps.total.shape[0] < steps.total.shape[1]  # else every sum has one term and the matrix is 1
        self._total = Constant(steps.total) if merges else None
        self._mix = [Constant(mix / math.sqrt(max(mix.shape[1], 1))) for mix in steps.mix]
        first = np.cumsum([0] + [mix.shape[0] for mix in steps.mix])
        degree = [l for l in range(min(lmax_in, lmax_out) + 1) for _ in range(2 * l + 1)]
        _register_indices(self, value=steps.value, tree=steps.tree, linear_tree=first[degree])
        self.weights = unit_normal([(classes, mix.shape[1], channels) for mix in steps.mix], dtype, device, generator)

    def forward(
        self, features: Float[Tensor, "atom irrep_in channel"], classes: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom irrep_out channel"]:
        atoms, _, channels = features.shape
        a = features.transpose(0, 1).flatten(1)
        mixed = [mix.like(a) @ weight for mix, weight in zip(self._mix, self.weights, strict=True)]
        weights = torch.cat(mixed, dim=1).transpose(0, 1).index_select(1, classes).flatten(1)
        values = [a]
        for step in self._lower:
            values.append(step(values[-1], a))
        weighted = torch.cat(values).index_select(0, self.get_buffer("value"))
        weighted = weighted * weights.index_select(0, self.get_buffer("tree"))
        out = self._last(weighted if self._total is None else self._total.like(a) @ weighted, a)
        linear = self.get_buffer("linear_tree")
        first = a[: len(linear)] * weights.index_select(0, linear)
        out = out + (first if len(first) == len(out) else nn.functional.pad(first, (0, 0, 0, len(out) - len(first))))
        return out.unflatten(1, (atoms, channels)).transpose(0, 1)


class _BilinearStep(nn.Module):
    """One step of a `Factorisation`, on rows of equal length."""

    def __init__(self, step: Bilinear) -> None:
        super().__init__()
        self._matrix = Constant(step.matrix)
        _register_indices(self, left=step.left, right=step.right)

    def forward(
        self, x: Float[Tensor, "row_x column"], y: Float[Tensor, "row_y column"]
    ) -> Float[Tensor, "row column"]:
        left, right = self.get_buffer("left"), self.get_buffer("right")
        return self._matrix.like(x) @ (x.index_select(0, left) * y.index_select(0, right))


def _register_indices(module: nn.Module, **indices: np.ndarray) -> None:
    for name, values in indices.items():
        module.register_buffer(name, torch.from_numpy(values), persistent=False)


def unit_normal(
    shapes: Sequence[tuple[int, ...]],
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    generator: torch.Generator | None,
) -> nn.ParameterList:
    """Parameters drawn from the standard normal distribution."""
    return nn.ParameterList(
        nn.Parameter(torch.randn(shape, dtype=dtype, device=device, generator=generator)) for shape in shapes
    )


def _checked_lmax_out(lmax_out: int | None, lmax_in: int) -> int:
    if lmax_out is None:
        return lmax_in
    if not 0 <= lmax_out <= lmax_in:
        raise ValueError(
            f"EQUIVARIANT_DEGREE: lmax_out {lmax_out} is not between 0 and the lmax {lmax_in} of the input. "
            "A linear map cannot make a degree that it is not given. Lower lmax_out."
        )
    return lmax_out
