"""The operators of `groundstate.equivariant.operators` on CUDA tensors, by these kernels.

Number type and order of the tables follow the tensors; of a specification the programs count. What was not asked for is
empty, as it is on the CPU.
"""

from functools import cache

from torch import Tensor

from groundstate.equivariant.operators.calls import parsed
from groundstate.equivariant.operators.harmonics import _harmonics, _harmonics_backward, _harmonics_second
from groundstate.equivariant.operators.message import _message, _message_backward, _message_second
from groundstate.equivariant.operators.product import _product, _product_backward, _product_second
from groundstate.equivariant.triton_kernels import (
    contraction_backward,
    contraction_forward,
    contraction_second,
    harmonics_forward,
    harmonics_second,
    harmonics_vjp,
    message_backward,
    message_forward,
    message_second,
    message_tangent,
)


@cache
def register() -> None:
    """From now on the operators accept CUDA tensors, on which these kernels run. Once is enough."""
    for operator, implementation in IMPLEMENTATIONS:
        operator.register_kernel("cuda")(implementation)


def on_harmonics(u: Tensor, spec: str) -> Tensor:
    return harmonics_forward(parsed(spec).lmax, u)


def on_harmonics_backward(u: Tensor, G: Tensor, spec: str) -> Tensor:
    return harmonics_vjp(parsed(spec).lmax, u, G)


def on_harmonics_second(u: Tensor, du: Tensor, G: Tensor, spec: str) -> tuple[Tensor, Tensor]:
    to_G, to_u = harmonics_second(parsed(spec).lmax, u, G, du)
    return to_u, to_G


def on_message(
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
    return message_forward(parsed(spec).messages[degree], h, table, which, x, Y, ptr, senders)


def on_message_backward(
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
    program = parsed(spec).messages[degree]
    found = message_backward(program, h, table, which, x, Y, ptr, senders, G, geometry=geometry, parameters=parameters)
    return _or_empty(found.h, h), _or_empty(found.table, table), _or_empty(found.x, x), _or_empty(found.Y, Y)


def on_message_second(
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
    program, edges, along = parsed(spec).messages[degree], (h, table, which, x, Y, ptr, senders), (dh, dx, dY, dtable)
    found = message_second(program, *edges, G, *along, geometry=geometry)
    gradients = _or_empty(found.h, h), _or_empty(found.table, table), _or_empty(found.x, x), _or_empty(found.Y, Y)
    return *gradients, message_tangent(program, *edges, *along)


def on_product(A: Tensor, coefficients: Tensor, classes: Tensor, order: Tensor, spec: str, degree: int) -> Tensor:
    return contraction_forward(parsed(spec).products[degree], A, coefficients, classes)


def on_product_backward(
    A: Tensor,
    coefficients: Tensor,
    classes: Tensor,
    order: Tensor,
    G: Tensor,
    spec: str,
    degree: int,
    parameters: bool,
) -> tuple[Tensor, Tensor]:
    program = parsed(spec).products[degree]
    to_A, to_coefficients = contraction_backward(program, A, coefficients, classes, G, coefficients=parameters)
    return _or_empty(to_A, A), _or_empty(to_coefficients, coefficients)


def on_product_second(
    A: Tensor,
    coefficients: Tensor,
    classes: Tensor,
    order: Tensor,
    G: Tensor,
    dA: Tensor,
    dcoefficients: Tensor | None,
    spec: str,
    degree: int,
) -> tuple[Tensor, Tensor, Tensor]:
    program = parsed(spec).products[degree]
    to_G, to_A, found = contraction_second(program, A, coefficients, classes, G, dA, dcoefficients)
    return to_G, to_A, _or_empty(found, coefficients)


def _or_empty(found: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if found is None else found


IMPLEMENTATIONS = (
    (_harmonics, on_harmonics),
    (_harmonics_backward, on_harmonics_backward),
    (_harmonics_second, on_harmonics_second),
    (_message, on_message),
    (_message_backward, on_message_backward),
    (_message_second, on_message_second),
    (_product, on_product),
    (_product_backward, on_product_backward),
    (_product_second, on_product_second),
)
"""Operators and what they do on CUDA tensors."""
