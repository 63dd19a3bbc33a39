"""What an atom collects from its neighbours: Σ_j R(r_ij) · [h_j ⊗ Y(r̂_ij)], without a tensor per edge and path in memory.

The sum is trilinear in the features h, the radial weights R and the harmonics. With the harmonics folded into the
couplings first, B, one path contributes

    m_i[M, c] = Σ_(j, a) B_i[M, (a, j)] X_i[(a, j), c],   X_i[(a, j), c] = h_j[a, c] R_ij[c],

a matrix product for each atom. Derivatives are written out, because a chain of elementary operations would keep and move
many copies of X: the first and the second derivative rebuild it, block of rows by block of rows, while it fits the cache.
A third derivative does not exist here; nothing asks for it (Hessians in a loss are differences of forces).
Checked: tests/potentials/test_mace_message.py (against `TensorProduct` and by gradgradcheck).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from groundstate.equivariant import Constant, degree_slice, dense_coupling, dimension, natural_parity_paths
from groundstate.potentials.mace.slots import Slots

_BLOCK = 131072
"""Numbers in one X: half a megabyte in float32, so that the four of them alive at once stay in a core's cache."""


class _Part(NamedTuple):
    """One path: where its weights, its output and its couplings lie."""

    path: int
    out: int
    copy: int
    rows: slice


@dataclass(frozen=True, eq=False)
class _Plan:
    """Paths by the degree of the feature they read, and how many end in each degree."""

    parts: tuple[tuple[_Part, ...], ...]
    copies: tuple[int, ...]

    @property
    def lmax(self) -> int:
        return len(self.parts) - 1


class Message(nn.Module):
    """The tensor product of `equivariant.TensorProduct` with neighbours, summed over them and divided by `average`."""

    def __init__(self, lmax_features: int, lmax_harmonics: int, lmax_out: int, average: float) -> None:
        super().__init__()
        self.paths = natural_parity_paths(lmax_harmonics, lmax_features, lmax_out)
        copies = tuple(sum(path.out == l for path in self.paths) for l in range(lmax_out + 1))
        blocks = dense_coupling(self.paths, lmax_features, lmax_harmonics)
        parts, self._couplings = [], []
        for feature in range(lmax_features + 1):
            of_feature, coefficients, row = [], [], 0
            for p, path in enumerate(self.paths):
                if path.feature == feature:
                    copy = sum(other.out == path.out for other in self.paths[:p])
                    of_feature.append(_Part(p, path.out, copy, slice(row, row + 2 * path.out + 1)))
                    coefficients.append(blocks[p][:, degree_slice(feature)] / average)
                    row += 2 * path.out + 1
            parts.append(tuple(of_feature))
            self._couplings.append(Constant(np.concatenate(coefficients)))  # [row, a, harmonic]
        self._plan = _Plan(tuple(parts), copies)

    @property
    def copies(self) -> tuple[int, ...]:
        """Paths that end in each degree."""
        return self._plan.copies

    def forward(
        self,
        features: Float[Tensor, "atom irrep channel"],
        slots: Slots,
        harmonics: Float[Tensor, "slot harmonic"],
        weights: Float[Tensor, "path slot channel"],
    ) -> list[Tensor]:
        """For each degree [2l+1, atom, path·channel], paths in the order of `paths`."""
        n_atoms, irreps, _ = features.shape
        width, rows = slots.width, slots.rows
        harmonics_of_row = harmonics.view(rows, width, -1).transpose(1, 2)
        folded = []
        for coupling in self._couplings:
            matrix = coupling.like(harmonics)
            folded.append((matrix.flatten(0, 1) @ harmonics_of_row).view(rows, matrix.shape[0], -1))
        component = torch.arange(irreps, device=features.device)
        index = (component[:, None] * n_atoms + slots.senders.view(rows, 1, width)).reshape(-1)
        sums = _Sum.apply(
            self._plan, width, index, features.transpose(0, 1).contiguous(), weights.contiguous(), *folded
        )
        return [slots.sum_rows(block, n_atoms).flatten(2) for block in sums]


class _Sum(torch.autograd.Function):
    """(h, R, B) → for each degree [2l+1, row, copy, channel]; h is [irrep, atom, channel]."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, width: int, index: Tensor, h: Tensor, weights: Tensor, *folded: Tensor) -> Any:
        ctx.plan, ctx.width = plan, width
        ctx.save_for_backward(index, h, weights, *folded)
        channels, n_rows = h.shape[2], len(folded[0])
        out = tuple(h.new_empty(2 * l + 1, n_rows, copies, channels) for l, copies in enumerate(plan.copies))
        for block in _blocks(plan, width, index, h, weights):
            for x, parts, b in zip(block.gather(h), plan.parts, folded, strict=True):
                for part in parts:
                    product = torch.bmm(b[block.rows, part.rows], block.matrix(x * block.weight(weights, part)))
                    out[part.out][:, block.rows, part.copy] = product.transpose(0, 1)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        index, h, weights, *folded = ctx.saved_tensors
        found = _SumBackward.apply(ctx.plan, ctx.width, index, h, weights, *folded, *gradients)
        return (None, None, None, *found)


class _SumBackward(torch.autograd.Function):
    """Cotangents g of the sums → those of h, R and B; itself differentiable once."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, width: int, index: Tensor, h: Tensor, weights: Tensor, *rest: Tensor) -> Any:
        ctx.plan, ctx.width = plan, width
        ctx.save_for_backward(index, h, weights, *rest)
        folded, g = rest[: len(plan.parts)], rest[len(plan.parts) :]
        to_h, to_weights, to_folded = (
            torch.zeros_like(h),
            torch.empty_like(weights),
            [torch.empty_like(b) for b in folded],
        )
        for block in _blocks(plan, width, index, h, weights):
            gathered = block.empty(h)
            for x, to_x, parts, b, to_b in zip(
                block.gather(h), block.degrees(gathered), plan.parts, folded, to_folded, strict=True
            ):
                to_x.zero_()
                for part in parts:
                    weight, g_part = block.weight(weights, part), block.cotangent(g, part)
                    to_b[block.rows, part.rows] = torch.bmm(g_part, block.matrix(x * weight).transpose(1, 2))
                    to_product = torch.bmm(b[block.rows, part.rows].transpose(1, 2), g_part).view_as(x)
                    to_x.addcmul_(to_product, weight)
                    block.weight(to_weights, part).copy_(to_product.mul_(x).sum(1, keepdim=True))
            block.scatter(gathered, to_h)
        return (to_h, to_weights, *to_folded)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_h: Tensor, v_weights: Tensor, *v_folded: Tensor) -> Any:
        """Of φ = ⟨v, backward⟩ = Σ g · (B dX + v_B X) with dX = v_h R + h v_R, by g, h, R and, if asked, B."""
        plan, width = ctx.plan, ctx.width
        index, h, weights, *rest = ctx.saved_tensors
        v_h, v_weights = v_h.contiguous(), v_weights.contiguous()
        folded, g = rest[: len(plan.parts)], rest[len(plan.parts) :]
        to_h, to_weights, to_g = torch.zeros_like(h), torch.empty_like(weights), [torch.empty_like(x) for x in g]
        need_b = any(ctx.needs_input_grad[5 : 5 + len(folded)])
        to_folded = [torch.empty_like(b) if need_b else None for b in folded]
        for block in _blocks(plan, width, index, h, weights):
            gathered = block.empty(h)
            for x, v_x, to_x, parts, b, v_b, to_b in zip(
                block.gather(h),
                block.gather(v_h),
                block.degrees(gathered),
                plan.parts,
                folded,
                v_folded,
                to_folded,
                strict=True,
            ):
                to_x.zero_()
                for part in parts:
                    rows = (block.rows, part.rows)
                    weight, v_weight = block.weight(weights, part), block.weight(v_weights, part)
                    g_part = block.cotangent(g, part)
                    tangent = (x * v_weight).addcmul_(v_x, weight)
                    out = torch.bmm(b[rows], block.matrix(tangent))
                    if to_b is not None:
                        to_b[rows] = torch.bmm(g_part, block.matrix(tangent).transpose(1, 2))
                    out.baddbmm_(v_b[rows], block.matrix(torch.mul(x, weight, out=tangent)))
                    block.cotangent(to_g, part).copy_(out)
                    to_product = torch.bmm(b[rows].transpose(1, 2), g_part).view_as(x)
                    to_tangent = torch.bmm(v_b[rows].transpose(1, 2), g_part).view_as(x)
                    to_x.addcmul_(to_product, v_weight).addcmul_(to_tangent, weight)
                    to_weight = to_tangent.mul_(x).addcmul_(to_product, v_x)
                    block.weight(to_weights, part).copy_(to_weight.sum(1, keepdim=True))
            block.scatter(gathered, to_h)
        return (None, None, None, to_h, to_weights, *to_folded, *to_g)


@dataclass(frozen=True, eq=False)
class _Block:
    """A range of rows, and the views of every operand that belong to it."""

    rows: slice
    width: int
    index: Int[Tensor, " index"]
    lmax: int

    @property
    def n_rows(self) -> int:
        return self.rows.stop - self.rows.start

    def empty(self, h: Tensor) -> Tensor:
        """Room for the features of all neighbours: [row, irrep, width · channel]."""
        return h.new_empty(self.n_rows, dimension(self.lmax), self.width * h.shape[2])

    def degrees(self, gathered: Tensor) -> tuple[Tensor, ...]:
        return gathered.split([2 * l + 1 for l in range(self.lmax + 1)], dim=1)

    def gather(self, h: Tensor) -> tuple[Tensor, ...]:
        """Features of the neighbours by degree: [row, 2l+1, width · channel]."""
        return self.degrees(h.view(-1, h.shape[2]).index_select(0, self.index).view(self.n_rows, len(h), -1))

    def scatter(self, gathered: Tensor, h: Tensor) -> None:
        """Add what neighbours got to their atoms."""
        h.view(-1, h.shape[2]).index_add_(0, self.index, gathered.view(-1, h.shape[2]))

    def weight(self, weights: Tensor, part: _Part) -> Tensor:
        """[row, 1, width · channel] of one path."""
        slots = slice(self.rows.start * self.width, self.rows.stop * self.width)
        return weights[part.path, slots].view(self.n_rows, 1, -1)

    def matrix(self, x: Tensor) -> Tensor:
        """X as a matrix for each row: [row, (2l+1) · width, channel]."""
        return x.view(self.n_rows, x.shape[1] * self.width, -1)

    def cotangent(self, g: Sequence[Tensor], part: _Part) -> Tensor:
        """[row, 2l+1, channel] of one path's output."""
        return g[part.out][:, self.rows, part.copy].transpose(0, 1)


def _blocks(plan: _Plan, width: int, index: Tensor, h: Tensor, weights: Tensor) -> Iterator[_Block]:
    """Ranges of rows of about equal length, each within the budget."""
    irreps, channels = dimension(plan.lmax), h.shape[2]
    n_rows = weights.shape[1] // width
    pieces = -(-n_rows * width * channels * (2 * plan.lmax + 1) // _BLOCK)
    step = -(-n_rows // max(pieces, 1))
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        chosen = index[rows.start * irreps * width : rows.stop * irreps * width]
        yield _Block(rows, width, chosen, plan.lmax)
