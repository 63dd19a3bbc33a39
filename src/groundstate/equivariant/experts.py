"""Linear experts: maps that hold K matrices and use one mixture of them, Σ_k α_k W_k, per run of consecutive rows.

A mixture of linear maps is a linear map: it is mixed once for each run, and then costs what one matrix costs. Source:
Wood et al., UMA, arXiv:2506.23971 (2025), mixture of linear experts. Checked: tests/equivariant/test_experts.py
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.equivariant.operators.scope import by_parameters


@dataclass(frozen=True, eq=False)
class Mixture:
    """How experts are mixed along the rows of a batch.

    shares   α; each row of it adds up to 1
    lengths  consecutive rows (atoms) of each run, which add up to all rows
    groups   the row of `shares` each run uses
    """

    shares: Float[Tensor, "group expert"]
    lengths: tuple[int, ...]
    groups: tuple[int, ...]

    def product(
        self, block: Tensor, experts: Float[Tensor, "expert channel_in channel_out"], scale: float, axis: int
    ) -> Tensor:
        """block [..., channel_in] → [..., channel_out], each run along `axis` through `scale` times its own mixture."""
        matrices = ((self.shares * scale) @ experts.flatten(1)).view(-1, *experts.shape[1:])
        if len(matrices) == 1:
            return block @ matrices[0]
        rows = block.movedim(axis, 0)
        made: Tensor = _Product.apply(rows.contiguous(), matrices, self.lengths, self.groups)
        return made.movedim(0, axis)


class _Product(torch.autograd.Function):
    """y = x W[group of the run], x contiguous with rows first: one node of the graph however many the runs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor, lengths: Sequence[int], groups: Sequence[int]) -> Any:
        ctx.save_for_backward(x, matrices)
        ctx.runs = (lengths, groups)
        made = x.new_empty(*x.shape[:-1], matrices.shape[2])
        for rows, to, group in _runs(x, made, lengths, groups):
            torch.mm(rows, matrices[group], out=to)
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, matrices = ctx.saved_tensors
        gradient, to_x, to_matrices = gradient.contiguous(), None, None
        if ctx.needs_input_grad[0]:
            to_x = _Product.apply(gradient, matrices.transpose(1, 2), *ctx.runs)
        if ctx.needs_input_grad[1] and by_parameters():
            to_matrices = _Outer.apply(x, gradient, len(matrices), *ctx.runs)
        return to_x, to_matrices, None, None


class _Outer(torch.autograd.Function):
    """W[group] = Σ xᵀ g over the runs of the group: the derivative of `_Product` by its matrices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, count: int, lengths: Sequence[int], groups: Sequence[int]) -> Any:
        ctx.save_for_backward(x, g)
        ctx.runs = (lengths, groups)
        made = x.new_zeros(count, x.shape[-1], g.shape[-1])
        for rows, columns, group in _runs(x, g, lengths, groups):
            made[group].addmm_(rows.T, columns)
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, g = ctx.saved_tensors
        to_x = _Product.apply(g, gradient.transpose(1, 2), *ctx.runs) if ctx.needs_input_grad[0] else None
        to_g = _Product.apply(x, gradient, *ctx.runs) if ctx.needs_input_grad[1] else None
        return to_x, to_g, None, None, None


def _runs(x: Tensor, y: Tensor, lengths: Sequence[int], groups: Sequence[int]) -> Iterator[tuple[Tensor, Tensor, int]]:
    """For each run its rows in both as matrices, and its group."""
    for one, other, group in zip(x.split(lengths), y.split(lengths), groups, strict=True):
        yield one.view(-1, x.shape[-1]), other.view(-1, y.shape[-1]), group
