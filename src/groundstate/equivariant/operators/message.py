"""The message of a layer as an operator: gather, interpolate, couple, sum over neighbours, with two derivatives.

Differentiable in the features h, the table of radial functions, the coordinates x and the harmonics Y, twice; a third
derivative is refused. Mathematics: `generator.message`. Checked: tests/equivariant/test_operators.py (gradcheck,
gradgradcheck, and against `TensorProduct`).
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.operators.calls import call, parsed, ready, threads_for
from groundstate.equivariant.operators.scope import by_geometry, by_parameters


def message(
    spec: KernelSpec,
    degree: int,
    features: Float[Tensor, "atom irrep channel"],
    table: Float[Tensor, "table knot block path kept 16"],
    x: Float[Tensor, " edge"],
    harmonics: Float[Tensor, "edge irrep_harmonic"],
    receiver_ptr: Int[Tensor, " boundary"],
    senders: Int[Tensor, " edge"],
    which: Int[Tensor, " edge"] | None = None,
) -> Float[Tensor, "atom row channel"]:
    """Σ over the edges of each receiver of R(x) [h_sender ⊗ Y], rows as in `TensorProduct`.

    degree   of the features: 0, or the hidden degree of `spec`
    table    R and its derivatives by x on evenly spaced knots of [0, 1], in blocks of 16 channels (`radial_table`)
    x        coordinate of each edge; from 1 on its contribution and all derivatives are exactly 0
    which    table of each edge, int32; the first where `None`
    """
    if which is not None and which.dtype != torch.int32:
        which = which.to(torch.int32)
    return _message(features, table, x, harmonics, receiver_ptr, senders, which, spec.name, degree)


def radial_table(kept: Float[Tensor, "kept table knot path channel"]) -> Float[Tensor, "table knot block path kept 16"]:
    """The order in memory kernels read: value, slope (and curvature) by x of 16 channels side by side."""
    return kept.unflatten(4, (-1, 16)).permute(1, 2, 4, 3, 0, 5).contiguous()


@torch.library.custom_op("groundstate::message", mutates_args=())
def _message(
    h: Tensor,
    table: Tensor,
    x: Tensor,
    Y: Tensor,
    ptr: Tensor,
    senders: Tensor,
    which: Tensor | None,
    spec: str,
    degree: int,
) -> Tensor:
    h, table, x, Y = ready(spec, h, table, x, Y)
    out = h.new_empty(_shape(h, spec, degree))
    call(spec, f"message_{degree}_forward", *_edges(h, ptr, senders, which, x, Y, table), h, out)
    return out


@_message.register_fake
def _(h: Tensor, *rest: Any) -> Tensor:
    *_, spec, degree = rest
    return h.new_empty(_shape(h, spec, degree))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.spec, ctx.degree = inputs
    ctx.save_for_backward(*tensors)


def _derive(ctx: Any, G: Tensor) -> tuple[Any, ...]:
    geometry = by_geometry() and (ctx.needs_input_grad[2] or ctx.needs_input_grad[3])
    parameters = (by_parameters() and ctx.needs_input_grad[1]) or not geometry
    found = _message_backward(*ctx.saved_tensors, G, ctx.spec, ctx.degree, geometry, parameters)
    to_h, to_table, to_x, to_Y = found
    return (to_h, to_table if parameters else None, *((to_x, to_Y) if geometry else (None, None)), *[None] * 5)


_message.register_autograd(_derive, setup_context=_setup)


@torch.library.custom_op("groundstate::message_backward", mutates_args=())
def _message_backward(
    h: Tensor,
    table: Tensor,
    x: Tensor,
    Y: Tensor,
    ptr: Tensor,
    senders: Tensor,
    which: Tensor | None,
    G: Tensor,
    spec: str,
    degree: int,
    geometry: bool,
    parameters: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    h, table, x, Y, G = ready(spec, h, table, x, Y, G)
    to_h, to_table, to_x, to_Y = _room(h, table, x, Y, geometry, parameters)
    edges = _edges(h, ptr, senders, which, x, Y, table)
    by_place = (to_h, to_table if parameters else None, *((to_x, to_Y) if geometry else (None, None)))
    call(spec, f"message_{degree}_backward", *edges, h, G, *by_place)
    return to_h, to_table, to_x, to_Y


@_message_backward.register_fake
def _(h: Tensor, table: Tensor, x: Tensor, Y: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *_, geometry, parameters = rest
    return _room(h, table, x, Y, geometry, parameters)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.spec, ctx.degree, ctx.geometry, ctx.parameters = inputs
    ctx.save_for_backward(*tensors)


def _derive_backward(ctx: Any, dh: Tensor, dtable: Tensor, dx: Tensor, dY: Tensor) -> tuple[Any, ...]:
    h, table, x, Y, ptr, senders, which, G = ctx.saved_tensors
    if not ctx.geometry:
        dx, dY = torch.zeros_like(x), torch.zeros_like(Y)
    along = dtable if ctx.parameters and dtable is not None else None
    geometry = by_geometry() and (ctx.needs_input_grad[2] or ctx.needs_input_grad[3])
    to_h, to_table, to_x, to_Y, to_G = _message_second(
        h, table, x, Y, ptr, senders, which, G, dh, along, dx, dY, ctx.spec, ctx.degree, geometry
    )
    to_geometry = (to_x, to_Y) if geometry else (None, None)
    return (to_h, to_table, *to_geometry, None, None, None, to_G, *[None] * 4)


_message_backward.register_autograd(_derive_backward, setup_context=_setup_backward)


@torch.library.custom_op("groundstate::message_second", mutates_args=())
def _message_second(
    h: Tensor,
    table: Tensor,
    x: Tensor,
    Y: Tensor,
    ptr: Tensor,
    senders: Tensor,
    which: Tensor | None,
    G: Tensor,
    dh: Tensor,
    dtable: Tensor | None,
    dx: Tensor,
    dY: Tensor,
    spec: str,
    degree: int,
    geometry: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    h, table, x, Y, G, dh, dx, dY = ready(spec, h, table, x, Y, G, dh, dx, dY)
    along = None if dtable is None else ready(spec, dtable)[0]
    to_h, to_table, to_x, to_Y = _room(h, table, x, Y, geometry, True)
    edges, tangents = _edges(h, ptr, senders, which, x, Y, table), (dh, dx, dY, along)
    to_G = torch.empty_like(G)
    call(spec, f"message_{degree}_tangent", *edges, h, *tangents, to_G)
    by_place = (to_h, to_table, *((to_x, to_Y) if geometry else (None, None)))
    call(spec, f"message_{degree}_second", *edges, h, G, *tangents, *by_place)
    return to_h, to_table, to_x, to_Y, to_G


@_message_second.register_fake
def _(h: Tensor, table: Tensor, x: Tensor, Y: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    _, _, _, G, *_, geometry = rest
    return (*_room(h, table, x, Y, geometry, True), torch.empty_like(G))


def _shape(h: Tensor, spec: str, degree: int) -> tuple[int, int, int]:
    return h.shape[0], parsed(spec).messages[degree].rows, h.shape[2]


def _edges(
    h: Tensor, ptr: Tensor, senders: Tensor, which: Tensor | None, x: Tensor, Y: Tensor, table: Tensor
) -> tuple[Any, ...]:
    atoms = h.shape[0]
    return atoms, threads_for(atoms), ptr, senders, which, x, Y, table.shape[0], table.shape[1] - 1, table


def _room(
    h: Tensor, table: Tensor, x: Tensor, Y: Tensor, geometry: bool, parameters: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where gradients go; nothing where they are not wanted."""
    return (
        torch.zeros_like(h),
        torch.zeros_like(table) if parameters else table.new_empty(0),
        torch.empty_like(x) if geometry else x.new_empty(0),
        torch.empty_like(Y) if geometry else Y.new_empty(0),
    )
