"""The symmetric contraction of a layer as an operator: sparse polynomials chosen by class, with two derivatives.

Differentiable in the features A and the coefficients, twice; a third derivative is refused. Mathematics:
`generator.polynomial`. Checked: tests/equivariant/test_operators.py
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.operators.calls import call, parsed, ready, threads_for
from groundstate.equivariant.operators.scope import by_parameters


def product(
    spec: KernelSpec,
    degree: int,
    features: Float[Tensor, "atom irrep channel"],
    coefficients: Float[Tensor, "class slot channel"],
    classes: Int[Tensor, " atom"],
) -> Float[Tensor, "atom irrep_out channel"]:
    """P(A) of `generator.algebra.PolynomialProgram`; coefficients are its `fold` times the weights.

    degree   of the result: 0, or the hidden degree of `spec`
    """
    order = torch.argsort(classes, stable=True)
    return _product(features, coefficients, classes, order, spec.name, degree)


@torch.library.custom_op("groundstate::product", mutates_args=())
def _product(A: Tensor, coefficients: Tensor, classes: Tensor, order: Tensor, spec: str, degree: int) -> Tensor:
    A, coefficients = ready(spec, A, coefficients)
    out = A.new_empty(_shape(A, spec, degree))
    call(spec, f"product_{degree}_forward", *_atoms(A, order, classes), A, coefficients, out)
    return out


@_product.register_fake
def _(A: Tensor, coefficients: Tensor, classes: Tensor, order: Tensor, spec: str, degree: int) -> Tensor:
    return A.new_empty(_shape(A, spec, degree))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.spec, ctx.degree = inputs
    ctx.save_for_backward(*tensors)


def _derive(ctx: Any, G: Tensor) -> tuple[Any, ...]:
    parameters = by_parameters() and ctx.needs_input_grad[1]
    to_A, to_coefficients = _product_backward(*ctx.saved_tensors, G, ctx.spec, ctx.degree, parameters)
    return to_A, to_coefficients if parameters else None, None, None, None, None


_product.register_autograd(_derive, setup_context=_setup)


@torch.library.custom_op("groundstate::product_backward", mutates_args=())
def _product_backward(
    A: Tensor,
    coefficients: Tensor,
    classes: Tensor,
    order: Tensor,
    G: Tensor,
    spec: str,
    degree: int,
    parameters: bool,
) -> tuple[Tensor, Tensor]:
    A, coefficients, G = ready(spec, A, coefficients, G)
    to_A, to_coefficients = _room(A, coefficients, parameters)
    atoms, into = _atoms(A, order, classes), to_coefficients if parameters else None
    call(spec, f"product_{degree}_backward", *atoms, len(coefficients), A, coefficients, G, to_A, into)
    return to_A, to_coefficients


@_product_backward.register_fake
def _(A: Tensor, coefficients: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _room(A, coefficients, rest[-1])


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.spec, ctx.degree, ctx.parameters = inputs
    ctx.save_for_backward(*tensors)


def _derive_backward(ctx: Any, dA: Tensor, dcoefficients: Tensor) -> tuple[Any, ...]:
    along = dcoefficients if ctx.parameters and dcoefficients is not None else None
    to_G, to_A, to_coefficients = _product_second(*ctx.saved_tensors, dA, along, ctx.spec, ctx.degree)
    return to_A, to_coefficients, None, None, to_G, None, None, None


_product_backward.register_autograd(_derive_backward, setup_context=_setup_backward)


@torch.library.custom_op("groundstate::product_second", mutates_args=())
def _product_second(
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
    A, coefficients, G, dA = ready(spec, A, coefficients, G, dA)
    along = None if dcoefficients is None else ready(spec, dcoefficients)[0]
    to_G, (to_A, to_coefficients) = torch.empty_like(G), _room(A, coefficients, True)
    given = (*_atoms(A, order, classes), len(coefficients), A, coefficients, G, dA, along)
    call(spec, f"product_{degree}_second", *given, to_G, to_A, to_coefficients)
    return to_G, to_A, to_coefficients


@_product_second.register_fake
def _(A: Tensor, coefficients: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    _, _, G, *_ = rest
    return (torch.empty_like(G), *_room(A, coefficients, True))


def _shape(A: Tensor, spec: str, degree: int) -> tuple[int, int, int]:
    return A.shape[0], parsed(spec).products[degree].rows, A.shape[2]


def _atoms(A: Tensor, order: Tensor, classes: Tensor) -> tuple[Any, ...]:
    return A.shape[0], threads_for(A.shape[0]), order, classes


def _room(A: Tensor, coefficients: Tensor, parameters: bool) -> tuple[Tensor, Tensor]:
    return torch.empty_like(A), torch.zeros_like(coefficients) if parameters else coefficients.new_empty(0)
