"""Spherical harmonics of unit vectors as an operator with two derivatives.

Solid harmonics with r² written as 1 (`generator.algebra.harmonic_polynomials`): right on the unit sphere and in its
tangent planes, which is all a normalised vector asks for. Checked: tests/equivariant/test_operators.py
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.irreps import dimension
from groundstate.equivariant.operators.calls import call, parsed, ready


def harmonics(spec: KernelSpec, unit_vectors: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge irrep"]:
    """`spherical_harmonics` of degree 0 … lmax of `spec`."""
    return _harmonics(unit_vectors, spec.name)


@torch.library.custom_op("groundstate::harmonics", mutates_args=())
def _harmonics(u: Tensor, spec: str) -> Tensor:
    (u,) = ready(spec, u)
    Y = u.new_empty(len(u), _rows(spec))
    call(spec, "harmonics_value", len(u), u, Y)
    return Y


@_harmonics.register_fake
def _(u: Tensor, spec: str) -> Tensor:
    return u.new_empty(len(u), _rows(spec))


@torch.library.custom_op("groundstate::harmonics_backward", mutates_args=())
def _harmonics_backward(u: Tensor, G: Tensor, spec: str) -> Tensor:
    u, G = ready(spec, u, G)
    to_u = torch.empty_like(u)
    call(spec, "harmonics_backward", len(u), u, G, to_u)
    return to_u


@_harmonics_backward.register_fake
def _(u: Tensor, G: Tensor, spec: str) -> Tensor:
    return torch.empty_like(u)


@torch.library.custom_op("groundstate::harmonics_second", mutates_args=())
def _harmonics_second(u: Tensor, du: Tensor, G: Tensor, spec: str) -> tuple[Tensor, Tensor]:
    u, du, G = ready(spec, u, du, G)
    to_u, to_G = torch.empty_like(u), torch.empty_like(G)
    call(spec, "harmonics_tangent", len(u), u, du, to_G)
    call(spec, "harmonics_second", len(u), u, du, G, to_u)
    return to_u, to_G


@_harmonics_second.register_fake
def _(u: Tensor, du: Tensor, G: Tensor, spec: str) -> tuple[Tensor, Tensor]:
    return torch.empty_like(u), torch.empty_like(G)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.spec = inputs
    ctx.save_for_backward(*tensors)


def _derive(ctx: Any, G: Tensor) -> tuple[Any, ...]:
    (u,) = ctx.saved_tensors
    return _harmonics_backward(u, G, ctx.spec), None


def _derive_backward(ctx: Any, du: Tensor) -> tuple[Any, ...]:
    u, G = ctx.saved_tensors
    to_u, to_G = _harmonics_second(u, du, G, ctx.spec)
    return to_u, to_G, None


_harmonics.register_autograd(_derive, setup_context=_setup)
_harmonics_backward.register_autograd(_derive_backward, setup_context=_setup)


def _rows(spec: str) -> int:
    return dimension(parsed(spec).lmax)
