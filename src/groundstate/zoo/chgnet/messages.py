"""Gated messages, summed a block of rows at a time: the inner loop of the network.

A message costs tens of intermediate arrays. Kept for the backward pass they fill memory long before arithmetic is the
limit (over a megabyte per atom here), so each block is gathered, computed and summed before the next begins, and the
backward pass computes it again with its derivative written out. Second derivatives take the plain way through autograd.
Checked: tests/zoo/test_messages.py (against autograd, first and second order).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, silu

Affine = tuple[Tensor, Tensor]
"""Weight and bias of a linear layer, or scale and shift of a normalisation."""
_CACHE_ROWS = 1024
"""Rows of a block on a processor: what fits its cache."""
_DEVICE_ROWS = 1 << 18
"""Rows of a block on an accelerator: enough to keep it busy, few enough to bound its memory."""


@dataclass(frozen=True, eq=False)
class Gate:
    """silu(norm(core)) · sigmoid(norm(gate)), where core and gate are two perceptrons side by side.

    first    one matrix [core | gate, features] per input, so that each is applied where its input lives (atom, bond)
             and not once per message; `bias` of their sum
    second   the second layers of core and gate, `None` where there is one layer
    norms    the layer normalisations of core and gate
    """

    first: tuple[Tensor, ...]
    bias: Tensor
    second: tuple[Affine, Affine] | None
    norms: tuple[Affine, Affine]

    @classmethod
    def read(cls, weights: Mapping[str, Tensor], name: str, inputs: int) -> "Gate":
        """From the published arrays, whose first layer takes `inputs` equally wide features in a row."""

        def pair(core: str, gate: str) -> tuple[Affine, Affine]:
            a, b = f"{name}.{core}", f"{name}.{gate}"
            return (weights[f"{a}.weight"], weights[f"{a}.bias"]), (weights[f"{b}.weight"], weights[f"{b}.bias"])

        deep = f"{name}.mlp_core.layers.3.weight" in weights
        entry = 0 if deep else 1
        (core, core_bias), (gate, gate_bias) = pair(f"mlp_core.layers.{entry}", f"mlp_gate.layers.{entry}")
        return cls(
            first=tuple(part.contiguous() for part in torch.cat([core, gate]).chunk(inputs, dim=1)),
            bias=torch.cat([core_bias, gate_bias]),
            second=pair("mlp_core.layers.3", "mlp_gate.layers.3") if deep else None,
            norms=pair("bn1", "bn2"),
        )

    def message(self, mixed: Tensor) -> Tensor:
        """Rows [row, width] from the sum of the first layer [row, core | gate]."""
        core, gate = (mixed if self.second is None else mixed * _sigmoid(mixed)).chunk(2, dim=1)
        if self.second is not None:
            core, gate = linear(core, *self.second[0]), linear(gate, *self.second[1])
        core = layer_norm(core, core.shape[1:], *self.norms[0])
        gate = layer_norm(gate, gate.shape[1:], *self.norms[1])
        return silu(core) * torch.sigmoid(gate)

    def slopes(self, mixed: Tensor, slope: Tensor, weight: Tensor | None, out: Tensor) -> Tensor:
        """The message; ∂/∂mixed of Σ slope·weight·message, the derivative of `message` term by term, goes to `out`."""
        opened = _sigmoid(mixed)
        hidden = mixed if self.second is None else mixed * opened
        core, gate = hidden.chunk(2, dim=1)
        if self.second is not None:
            core, gate = linear(core, *self.second[0]), linear(gate, *self.second[1])
        width = core.shape[1:]
        core, gate = core.contiguous(), gate.contiguous()
        normed, core_mean, core_scale = torch.native_layer_norm(core, width, *self.norms[0], 1e-5)
        passed, gate_mean, gate_scale = torch.native_layer_norm(gate, width, *self.norms[1], 1e-5)
        half, passed = torch.sigmoid(normed), passed.sigmoid_()
        value = normed * half  # silu(normed); its slope is half + value·(1 − half)
        message = value * passed
        if weight is not None:
            slope = slope * weight
        d_core = half.add_(value * (1 - half)).mul_(slope).mul_(passed)
        d_gate = (1 - passed).mul_(message).mul_(slope)
        backward = torch.ops.aten.native_layer_norm_backward
        only_input = [True, False, False]
        d_core = backward(d_core, core, width, core_mean, core_scale, *self.norms[0], only_input)[0]
        d_gate = backward(d_gate, gate, width, gate_mean, gate_scale, *self.norms[1], only_input)[0]
        if self.second is None:
            torch.cat([d_core, d_gate], dim=1, out=out)
        else:
            d_hidden = torch.cat([d_core @ self.second[0][0], d_gate @ self.second[1][0]], dim=1)
            torch.mul(d_hidden, hidden.mul_(1 - opened).add_(opened), out=out)
        return message


def gated_sum(
    gate: Gate,
    gathered: Sequence[tuple[Tensor, Tensor]],
    rows: Tensor,
    weight: Tensor | None = None,
    target: tuple[Tensor, int] | None = None,
) -> Tensor:
    """Σ over rows of weight · message(rows + Σ table[index]).

    gathered   pairs (table, index): the parts of the first layer that live on atoms or bonds
    rows       the part that lives on the messages themselves, the bias included
    target     (index, size): row e is added to row `index[e]` of `size`; `None` leaves the messages as rows
    Differentiable to any order in tables, rows and weight; the gate's parameters are constants.
    """
    plan = _Plan(gate, tuple(index for _, index in gathered), target)
    summed: Tensor = _GatedSum.apply(plan, rows, weight, *(table for table, _ in gathered))
    return summed


@dataclass(frozen=True, eq=False)
class _Plan:
    gate: Gate
    indices: tuple[Tensor, ...]
    target: tuple[Tensor, int] | None

    def blocks(self, rows: Tensor) -> Iterator[slice]:
        step = _CACHE_ROWS if rows.device.type == "cpu" else _DEVICE_ROWS
        return (slice(start, start + step) for start in range(0, len(rows), step))

    def mixed(self, part: slice, rows: Tensor, tables: Sequence[Tensor]) -> Tensor:
        total = rows[part]
        for n, (table, index) in enumerate(zip(tables, self.indices, strict=True)):
            heard = table.index_select(0, index[part])
            total = total + heard if n == 0 else total.add_(heard)
        return total

    def plain(self, rows: Tensor, weight: Tensor | None, *tables: Tensor) -> Tensor:
        """All rows at once, through autograd."""
        message = self.gate.message(self.mixed(slice(None), rows, tables))
        if weight is not None:
            message = message * weight
        if self.target is None:
            return message
        index, size = self.target
        return message.new_zeros(size, message.shape[1]).index_add(0, index, message)


class _GatedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, rows: Tensor, weight: Tensor | None, *tables: Tensor) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(rows, weight, *tables)
        size = len(rows) if plan.target is None else plan.target[1]
        total = rows.new_zeros(size, rows.shape[1] // 2)
        for part in plan.blocks(rows):
            message = plan.gate.message(plan.mixed(part, rows, tables))
            if weight is not None:
                message.mul_(weight[part])
            if plan.target is None:
                total[part] = message
            else:
                total.index_add_(0, plan.target[0][part], message)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if not torch.is_grad_enabled():
            return None, *_slopes(ctx.plan, slopes[0], wanted, *inputs)
        # A second derivative will be taken of what is returned here. Aliases keep the inputs apart: where one was made
        # from another, the way through it is no part of this derivative.
        aliases = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        asked_of = [alias for alias, asked in zip(aliases, wanted, strict=True) if alias is not None and asked]
        found = iter(torch.autograd.grad(ctx.plan.plain(*aliases), asked_of, slopes[0], create_graph=True))
        return None, *(next(found) if asked else None for asked in wanted)


def _slopes(
    plan: _Plan, slope: Tensor, wanted: Sequence[bool], rows: Tensor, weight: Tensor | None, *tables: Tensor
) -> list[Tensor | None]:
    d_rows = torch.empty_like(rows)
    d_weight = torch.empty_like(weight) if weight is not None and wanted[1] else None
    d_tables = [torch.zeros_like(table) if asked else None for table, asked in zip(tables, wanted[2:], strict=True)]
    for part in plan.blocks(rows):
        local = slope[part] if plan.target is None else slope.index_select(0, plan.target[0][part])
        d_mixed = d_rows[part]
        message = plan.gate.slopes(
            plan.mixed(part, rows, tables), local, None if weight is None else weight[part], d_mixed
        )
        if d_weight is not None:
            torch.mul(message, local, out=d_weight[part])
        for d_table, index in zip(d_tables, plan.indices, strict=True):
            if d_table is not None:
                d_table.index_add_(0, index[part], d_mixed)
    return [d_rows if wanted[0] else None, d_weight, *d_tables]


def _sigmoid(x: Tensor) -> Tensor:
    """The logistic function, 0 or 1 to all digits beyond the bound.

    The hidden values of the published network reach hundreds, where the exponential leaves the normal numbers and a
    processor slows tenfold.
    """
    return x.clamp(-60.0, 60.0).sigmoid_()
