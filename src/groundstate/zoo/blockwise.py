"""Message passing a block of rows at a time, so that the arithmetic stays in cache and no message is ever stored.

A network over pairs and triples makes tens of intermediate arrays per row. Kept for the backward pass they fill memory
long before the arithmetic is the limit: on a processor most of the time goes into moving them. Here a block of rows is
gathered, computed and summed to its targets before the next begins, and the backward pass computes each block again.
Checked: tests/zoo/test_blockwise.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Rows = Callable[..., tuple[Tensor, ...]]
"""Maps blocks of rows to one tensor of rows per output; it must treat rows independently."""


@dataclass(frozen=True, eq=False)
class Target:
    """Where an output goes: row e is added to row `index[e]` of a table of `size` rows."""

    index: Tensor
    size: int


def in_blocks(
    function: Rows,
    gathered: Sequence[tuple[Tensor, Tensor]],
    rows: Sequence[Tensor],
    targets: Sequence[Target | None],
    block: int,
) -> tuple[Tensor, ...]:
    """`function(*(table[index] for table, index in gathered), *rows)`, each output summed to its target.

    A target of `None` leaves the output as rows. Differentiable to any order in the tables and rows; the parameters
    inside `function` are taken as constants.
    """
    plan = _Plan(function, tuple(index for _, index in gathered), tuple(targets), block)
    outputs: tuple[Tensor, ...] = _InBlocks.apply(plan, *(table for table, _ in gathered), *rows)
    return outputs


@dataclass(frozen=True, eq=False)
class _Plan:
    function: Rows
    indices: tuple[Tensor, ...]
    targets: tuple[Target | None, ...]
    block: int

    def slices(self, tensors: Sequence[Tensor]) -> list[slice]:
        # An empty input still needs one (empty) block, to learn the shapes of the outputs.
        count = len((*self.indices, *tensors[len(self.indices) :])[0])
        return [slice(start, start + self.block) for start in range(0, max(count, 1), self.block)]

    def take(self, tensors: Sequence[Tensor], part: slice) -> list[Tensor]:
        n = len(self.indices)
        gathered = [table.index_select(0, index[part]) for table, index in zip(tensors, self.indices, strict=False)]
        return gathered + [row[part] for row in tensors[n:]]

    def at_once(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """All rows in one differentiable step."""
        outputs = self.function(*self.take(tensors, slice(None)))
        return tuple(
            out if target is None else out.new_zeros(target.size, *out.shape[1:]).index_add(0, target.index, out)
            for out, target in zip(outputs, self.targets, strict=True)
        )


class _InBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.save_for_backward(*tensors)
        outputs: list[Any] = [None] * len(plan.targets)
        for part in plan.slices(tensors):
            for k, (out, target) in enumerate(zip(plan.function(*plan.take(tensors, part)), plan.targets, strict=True)):
                if target is None:
                    outputs[k] = [out] if outputs[k] is None else [*outputs[k], out]
                else:
                    if outputs[k] is None:
                        outputs[k] = out.new_zeros(target.size, *out.shape[1:])
                    outputs[k].index_add_(0, target.index[part], out)
        return tuple(torch.cat(out) if target is None else out for out, target in zip(outputs, plan.targets, strict=True))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        tensors: tuple[Tensor, ...] = ctx.saved_tensors
        wanted = [k for k in range(len(tensors)) if ctx.needs_input_grad[k + 1]]
        result: list[Tensor | None] = [None] * len(tensors)
        if torch.is_grad_enabled():  # a second derivative will be taken
            found = torch.autograd.grad(plan.at_once(tensors), [tensors[k] for k in wanted], slopes, create_graph=True)
        else:
            found = _slopes_in_blocks(plan, [t.detach() for t in tensors], wanted, slopes)
        for k, slope in zip(wanted, found, strict=True):
            result[k] = slope
        return None, *result


def _slopes_in_blocks(
    plan: _Plan, tensors: Sequence[Tensor], wanted: Sequence[int], slopes: Sequence[Tensor]
) -> list[Tensor]:
    found = {k: torch.zeros_like(tensors[k]) for k in wanted}
    for part in plan.slices(tensors):
        inputs = plan.take(tensors, part)
        for k in wanted:
            inputs[k].requires_grad_()
        with torch.enable_grad():
            outputs = plan.function(*inputs)
        seeds = [
            slope[part] if target is None else slope.index_select(0, target.index[part])
            for slope, target in zip(slopes, plan.targets, strict=True)
        ]
        gradients = torch.autograd.grad(outputs, [inputs[k] for k in wanted], seeds)
        for k, gradient in zip(wanted, gradients, strict=True):
            if k < len(plan.indices):
                found[k].index_add_(0, plan.indices[k][part], gradient)
            else:
                found[k][part] = gradient
    return list(found.values())
