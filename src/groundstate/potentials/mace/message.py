"""What an atom collects from its neighbours: Σ_j R(r_ij) · [h_j ⊗ Y(r̂_ij)], without a tensor per edge and path.

The sum is trilinear in the features h, the radial weights R and the harmonics. With the harmonics folded into the
couplings first, B, one path contributes

    m_i[M, c] = Σ_(j, a) B_i[M, (a, j)] X_i[(a, j), c],   X_i[(a, j), c] = h_j[a, c] R_ij[c],

a matrix product for each atom. Derivatives are written out, because a chain of elementary operations would keep and
move many copies of X: the first and the second rebuild it, block of rows by block of rows, while it fits the cache.
A third derivative is refused; nothing asks for it (Hessians in a loss are differences of forces).
Checked: tests/potentials/test_mace_message.py (against `TensorProduct` and by gradgradcheck).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundstate.atoms import UndefinedPropertyError
from groundstate.equivariant import Constant, degree_slice, dense_coupling, dimension, natural_parity_paths
from groundstate.potentials.mace.slots import Slots

_BLOCK = 262144
"""Numbers in one X: one megabyte in float32, so that the four of them alive at once stay in a core's cache."""


class _Part(NamedTuple):
    """One path: where its weights, its output and its couplings (among those of its feature) lie."""

    path: int
    out: int
    copy: int
    row: int


@dataclass(frozen=True, eq=False)
class _Plan:
    """Paths by the degree of the feature they read, and how many end in each degree."""

    parts: tuple[tuple[_Part, ...], ...]
    copies: tuple[int, ...]


class Message(nn.Module):
    """The tensor product of `equivariant.TensorProduct` with neighbours, summed over them and divided by `average`."""

    def __init__(self, lmax_features: int, lmax_harmonics: int, lmax_out: int, average: float) -> None:
        super().__init__()
        self.paths = natural_parity_paths(lmax_harmonics, lmax_features, lmax_out)
        copies = tuple(sum(path.out == l for path in self.paths) for l in range(lmax_out + 1))
        blocks = dense_coupling(self.paths, lmax_features, lmax_harmonics)
        parts, self._couplings = [], []
        for feature in range(lmax_features + 1):
            of_feature: list[_Part] = []
            coefficients = []
            for p, path in enumerate(self.paths):
                if path.feature == feature:
                    copy = sum(other.out == path.out for other in self.paths[:p])
                    of_feature.append(_Part(p, path.out, copy, len(of_feature)))
                    coefficients.append(blocks[p][:, degree_slice(feature)] / average)
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
        out = tuple(h.new_empty(2 * l + 1, len(folded[0]), n, h.shape[2]) for l, n in enumerate(plan.copies))
        for block in _blocks(plan, width, index, h, weights):
            weight, to_out = block.weights(weights), block.outputs(out)
            for x, b, parts in zip(block.gather(h), block.couplings(folded), plan.parts, strict=True):
                for part in parts:
                    product = x * weight[part.path]
                    to_out[part.out][part.copy].copy_(torch.bmm(b[part.row], block.matrix(product)))
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
            weight, to_weight, g_out = block.weights(weights), block.weights(to_weights), block.outputs(g)
            to_gathered = block.empty(h)
            for x, to_x, b, to_b, parts in zip(
                block.gather(h),
                block.degrees(to_gathered),
                block.couplings(folded),
                block.couplings(to_folded),
                plan.parts,
                strict=True,
            ):
                for k, part in enumerate(parts):
                    g_part, w = g_out[part.out][part.copy], weight[part.path]
                    to_b[part.row].copy_(torch.bmm(g_part, block.matrix(x * w).transpose(1, 2)))
                    to_product = torch.bmm(b[part.row].transpose(1, 2), g_part).view_as(x)
                    _add_product(to_x, to_product, w, first=k == 0)
                    _contract(to_weight[part.path], to_product, x)
            block.scatter(to_gathered, to_h)
        return (to_h, to_weights, *to_folded)

    @staticmethod
    def backward(ctx: Any, v_h: Tensor, v_weights: Tensor, *v_folded: Tensor) -> Any:
        needs_b = any(ctx.needs_input_grad[5 : 5 + len(v_folded)])
        v = (v_h.contiguous(), v_weights.contiguous(), *v_folded)
        found = _SumSecondBackward.apply(ctx.plan, ctx.width, needs_b, *ctx.saved_tensors, *v)
        return (None, None, None, *found)


class _SumSecondBackward(torch.autograd.Function):
    """Of φ = ⟨v, backward⟩ = Σ g · (B dX + v_B X) with dX = v_h R + h v_R: cotangents of h, R, B if needed, and g."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, width: int, needs_b: bool, index: Tensor, h: Tensor, weights: Tensor, *rest: Tensor
    ) -> Any:
        n_b, n_g = len(plan.parts), len(plan.copies)
        folded, g, (v_h, v_weights), v_folded = (
            rest[:n_b],
            rest[n_b : n_b + n_g],
            rest[n_b + n_g : n_b + n_g + 2],
            rest[n_b + n_g + 2 :],
        )
        to_h, to_weights, to_g = torch.zeros_like(h), torch.empty_like(weights), [torch.empty_like(x) for x in g]
        to_folded = [torch.empty_like(b) for b in folded] if needs_b else []
        for block in _blocks(plan, width, index, h, weights):
            weight, v_weight, to_weight = (block.weights(w) for w in (weights, v_weights, to_weights))
            g_out, to_out, to_gathered = block.outputs(g), block.outputs(to_g), block.empty(h)
            for x, v_x, to_x, b, v_b, to_b, parts in zip(
                block.gather(h),
                block.gather(v_h),
                block.degrees(to_gathered),
                block.couplings(folded),
                block.couplings(v_folded),
                block.couplings(to_folded) if needs_b else [None] * n_b,
                plan.parts,
                strict=True,
            ):
                for k, part in enumerate(parts):
                    w, v_w, g_part = weight[part.path], v_weight[part.path], g_out[part.out][part.copy]
                    tangent = (x * v_w).addcmul_(v_x, w)
                    out = torch.bmm(b[part.row], block.matrix(tangent))
                    if to_b is not None:
                        to_b[part.row].copy_(torch.bmm(g_part, block.matrix(tangent).transpose(1, 2)))
                    product = torch.mul(x, w, out=tangent)
                    to_out[part.out][part.copy].copy_(out.baddbmm_(v_b[part.row], block.matrix(product)))
                    to_product = torch.bmm(b[part.row].transpose(1, 2), g_part).view_as(x)
                    to_tangent = torch.bmm(v_b[part.row].transpose(1, 2), g_part).view_as(x)
                    _add_product(to_x, to_product, v_w, first=k == 0)
                    _add_product(to_x, to_tangent, w)
                    _contract(to_weight[part.path], to_tangent, x)
                    _contract(to_weight[part.path], to_product, v_x, add=True)
            block.scatter(to_gathered, to_h)
        return (to_h, to_weights, *(to_folded if needs_b else [None] * n_b), *to_g)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        raise UndefinedPropertyError(
            "E-THIRD-DERIVATIVE",
            "a third derivative of a MACE was asked for",
            why="two are written out, which is what forces, Hessians and training on forces need",
            fix="take a difference of second derivatives",
        )


def _add_product(total: Tensor, x: Tensor, weight: Tensor, *, first: bool = False) -> None:
    """total += x · weight."""
    if first:
        torch.mul(x, weight, out=total)
    else:
        total.addcmul_(x, weight)


def _contract(total: Tensor, x: Tensor, y: Tensor, *, add: bool = False) -> None:
    """total[row, 1, ·] (+)= Σ_a x[row, a, ·] y[row, a, ·]; one a at a time beats forming all and adding up."""
    for a in range(x.shape[1]):
        _add_product(total, x[:, a : a + 1], y[:, a : a + 1], first=a == 0 and not add)


@dataclass(frozen=True, eq=False)
class _Block:
    """A range of rows, and the views of every operand that belong to it."""

    plan: _Plan
    rows: slice
    width: int
    index: Int[Tensor, " index"]

    @property
    def n_rows(self) -> int:
        return self.rows.stop - self.rows.start

    def empty(self, h: Tensor) -> Tensor:
        """Room for the features of all neighbours: [row, irrep, width · channel]."""
        return h.new_empty(self.n_rows, len(h), self.width * h.shape[2])

    def degrees(self, gathered: Tensor) -> tuple[Tensor, ...]:
        """The same by degree: [row, 2l+1, width · channel]."""
        return gathered.split([2 * l + 1 for l in range(len(self.plan.parts))], dim=1)

    def gather(self, h: Tensor) -> tuple[Tensor, ...]:
        """Features of the neighbours by degree."""
        return self.degrees(h.view(-1, h.shape[2]).index_select(0, self.index).view(self.n_rows, len(h), -1))

    def scatter(self, gathered: Tensor, h: Tensor) -> None:
        """Add what neighbours got to their atoms."""
        h.view(-1, h.shape[2]).index_add_(0, self.index, gathered.view(-1, h.shape[2]))

    def matrix(self, x: Tensor) -> Tensor:
        """X as a matrix for each row: [row, (2l+1) · width, channel]."""
        return x.view(self.n_rows, x.shape[1] * self.width, -1)

    def weights(self, weights: Tensor) -> tuple[Tensor, ...]:
        """For each path [row, 1, width · channel]."""
        slots = slice(self.rows.start * self.width, self.rows.stop * self.width)
        return weights[:, slots].view(len(weights), self.n_rows, 1, -1).unbind(0)

    def couplings(self, folded: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """For each degree of the feature and each path [row, 2l_out+1, (2l+1) · width]."""
        sizes = [[2 * part.out + 1 for part in parts] for parts in self.plan.parts]
        return [b[self.rows].split(rows, dim=1) for b, rows in zip(folded, sizes, strict=True)]

    def outputs(self, g: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """For each degree and copy [row, 2l+1, channel]."""
        return [x[:, self.rows].permute(2, 1, 0, 3).unbind(0) for x in g]


def _blocks(plan: _Plan, width: int, index: Tensor, h: Tensor, weights: Tensor) -> Iterator[_Block]:
    """Ranges of rows of about equal length, each within the budget."""
    irreps, channels = dimension(len(plan.parts) - 1), h.shape[2]
    n_rows = weights.shape[1] // width
    pieces = -(-n_rows * width * channels * (2 * len(plan.parts) - 1) // _BLOCK)
    step = -(-n_rows // max(pieces, 1))
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        yield _Block(plan, rows, width, index[rows.start * irreps * width : rows.stop * irreps * width])
