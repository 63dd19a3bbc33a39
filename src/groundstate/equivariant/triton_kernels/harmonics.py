"""Spherical harmonics of unit vectors and their derivatives."""

from functools import cache
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.equivariant.generator.triton import emit_harmonics
from groundstate.equivariant.irreps import dimension
from groundstate.equivariant.triton_kernels.launch import contiguous, launch, load

_EDGES_OF_A_WARP = 32


@cache
def _kernels(lmax: int) -> ModuleType:
    return load(emit_harmonics(lmax))


def _launch(lmax: int, name: str, *tensors: Tensor) -> None:
    edges = len(tensors[0])
    grid = (-(-edges // _EDGES_OF_A_WARP),)
    launch(getattr(_kernels(lmax), name), grid, *tensors, edges, BLOCK=_EDGES_OF_A_WARP)


def harmonics_forward(lmax: int, u: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge irrep"]:
    """Y of unit vectors u, the polynomials of `harmonic_polynomials`; equal to `spherical_harmonics` there."""
    (u,) = contiguous(u=u)
    Y = u.new_empty(len(u), dimension(lmax))
    _launch(lmax, "harmonics_forward", u, Y)
    return Y


def harmonics_vjp(lmax: int, u: Float[Tensor, "edge 3"], gY: Float[Tensor, "edge irrep"]) -> Float[Tensor, "edge 3"]:
    """Gradient of Σ gY·Y by u, as of polynomials of three independent variables."""
    u, gY = contiguous(u=u, gY=gY)
    gu = torch.empty_like(u)
    _launch(lmax, "harmonics_vjp", u, gY, gu)
    return gu


def harmonics_jvp(lmax: int, u: Float[Tensor, "edge 3"], v: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge irrep"]:
    """Change of Y along v."""
    u, v = contiguous(u=u, v=v)
    vY = u.new_empty(len(u), dimension(lmax))
    _launch(lmax, "harmonics_jvp", u, v, vY)
    return vY


def harmonics_second(
    lmax: int, u: Float[Tensor, "edge 3"], gY: Float[Tensor, "edge irrep"], v: Float[Tensor, "edge 3"]
) -> tuple[Float[Tensor, "edge irrep"], Float[Tensor, "edge 3"]]:
    """Gradients of <v, harmonics_vjp(u, gY)> by gY and by u."""
    u, gY, v = contiguous(u=u, gY=gY, v=v)
    dgY, du = torch.empty_like(gY), torch.empty_like(u)
    _launch(lmax, "harmonics_second", u, gY, v, dgY, du)
    return dgY, du
