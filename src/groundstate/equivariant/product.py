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
from groundstate.equivariant.irreps import IrrepLayout, degree_slice
from groundstate.equivariant.symmetric import symmetric_couplings


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
    out as zero. weights[l]: [copies_l · channels_in, channels_out], the copy running slowest.
    Checked: tests/equivariant/test_product.py
    """

    def __init__(
        self,
        layout: IrrepLayout,
        channels_in: int,
        channels_out: int,
        *,
        lmax_out: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.lmax_out = _checked_lmax_out(lmax_out, layout.lmax)
        self.channels_out = channels_out
        shapes = [(layout.copies[l] * channels_in, channels_out) for l in range(self.lmax_out + 1)]
        self.weights = _unit_normal(shapes, dtype, device, generator)

    def forward(self, features: Float[Tensor, "atom row channel_in"]) -> Float[Tensor, "atom irrep channel_out"]:
        mixed = []
        for l, weight in enumerate(self.weights):
            rows = features[:, self.layout.rows_of(l)].reshape(features.shape[0], 2 * l + 1, weight.shape[0])
            mixed.append(rows @ weight / math.sqrt(max(weight.shape[0], 1)))
        return torch.cat(mixed, dim=1)


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
        self.weight = _unit_normal([shape], dtype, device, generator)[0]

    def forward(
        self, features: Float[Tensor, "atom irrep_in channel_in"], classes: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom irrep_out channel_out"]:
        # One product per class on its own atoms: a weight gathered per atom would be channels² numbers for each.
        n_classes, _, channels_in, _ = self.weight.shape
        order = torch.argsort(classes, stable=True)
        counts = torch.bincount(classes, minlength=n_classes).tolist()
        groups = features[order].split(counts)
        mixed = torch.cat([self._mix(group, weight) for group, weight in zip(groups, self.weight, strict=True)])
        return mixed[torch.argsort(order)] / math.sqrt(channels_in)

    @staticmethod
    def _mix(features: Tensor, weight: Tensor) -> Tensor:
        return torch.cat([features[:, degree_slice(l)] @ matrix for l, matrix in enumerate(weight)], dim=1)


class SymmetricContraction(nn.Module):
    """Many-body features: an equivariant polynomial of A, up to order `correlation`, channel by channel.

    out[a, M, c] = Σ_η W_L[class_a, η, c] B̂_ηM(A[a, :, c]) / √(number of η), where η runs over the independent
    `symmetric_couplings` of orders 1, 2, … in that order, and B̂ is the coupling divided by its root mean square under
    standard normal A, which gives all orders the same weight at the start. weights[L]: [class, coupling, channel].

    Cost is set by the monomials, not by the number of classes. Monomials of one order are formed once for all L.

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
        orders = range(1, correlation + 1)
        table = [[symmetric_couplings(lmax_in, L, order) for L in range(lmax_out + 1)] for order in orders]
        self.counts = [[len(couplings.trees) for couplings in of_order] for of_order in table]
        totals = [sum(column) for column in zip(*self.counts, strict=True)]
        self._coefficients = []
        for order, of_order in zip(orders, table, strict=True):
            monomials = np.unique(np.concatenate([couplings.monomials for couplings in of_order]), axis=0)
            position = {tuple(monomial): i for i, monomial in enumerate(monomials.tolist())}
            blocks = []
            for couplings, total in zip(of_order, totals, strict=True):
                scale = 1.0 / np.sqrt(couplings.second_moments() * max(total, 1))
                block = np.zeros((*couplings.coefficients.shape[:2], len(monomials)))
                columns = [position[tuple(monomial)] for monomial in couplings.monomials.tolist()]
                block[:, :, columns] = couplings.coefficients * scale.reshape(-1, 1, 1)
                blocks.append(block.reshape(-1, len(monomials)))
            self._coefficients.append(Constant(np.concatenate(blocks)))
            self.register_buffer(_factor_name(order), torch.from_numpy(monomials.T.copy()), persistent=False)
        self.weights = _unit_normal([(classes, total, channels) for total in totals], dtype, device, generator)

    def forward(
        self, features: Float[Tensor, "atom irrep_in channel"], classes: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom irrep_out channel"]:
        weights = [weight[classes] for weight in self.weights]
        degrees: list[Tensor] = [
            features.new_zeros(features.shape[0], 2 * L + 1, features.shape[2]) for L in range(self.lmax_out + 1)
        ]
        first = [0] * len(weights)
        for order, counts in enumerate(self.counts, start=1):
            monomials = self._monomials(features, order)
            coupled = self._coefficients[order - 1].like(features) @ monomials  # [atom, (L, coupling, M), channel]
            sizes = [count * (2 * L + 1) for L, count in enumerate(counts)]
            for L, block in enumerate(coupled.split(sizes, dim=1)):
                block = block.unflatten(1, (counts[L], 2 * L + 1))
                chosen = weights[L][:, first[L] : first[L] + counts[L]]
                degrees[L] = degrees[L] + (chosen.unsqueeze(2) * block).sum(dim=1)
                first[L] += counts[L]
        return torch.cat(degrees, dim=1)

    def _monomials(self, features: Tensor, order: int) -> Tensor:
        """Products of `order` components: [atom, monomial, channel]."""
        factors = self.get_buffer(_factor_name(order))
        product = features[:, factors[0]]
        for factor in factors[1:]:
            product = product * features[:, factor]
        return product


def _factor_name(order: int) -> str:
    return f"factors_of_order_{order}"


def _unit_normal(
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
