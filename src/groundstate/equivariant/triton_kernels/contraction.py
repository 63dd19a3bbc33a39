"""The symmetric contraction as polynomials with folded coefficients, and its derivatives."""

from functools import cache
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.equivariant.generator.algebra import PolynomialProgram
from groundstate.equivariant.generator.triton import emit_contraction
from groundstate.equivariant.generator.triton.contraction import SLOTS_OF_A_GROUP, parts
from groundstate.equivariant.triton_kernels.launch import channel_block, contiguous, launch, load, pieces

CHANNELS_OF_A_PRODUCT = 32
"""One for each lane: A, its direction and gradient are up to 75 registers for each channel."""

_SUMMED_BY_A_WARP = 128

Features = Float[Tensor, "atom irrep channel"]
Rows = Float[Tensor, "atom row channel"]
Coefficients = Float[Tensor, "class slot channel"]


@cache
def _kernels(program: PolynomialProgram) -> ModuleType:
    return load(emit_contraction(program))


def contraction_forward(
    program: PolynomialProgram, A: Features, c: Coefficients, classes: Int[Tensor, " atom"]
) -> Rows:
    """out[M] = Σ c[class, slot] Π A[factors], c = fold @ weights. Atoms sorted by class read c from the cache."""
    A, c, classes = contiguous(A=A, c=c, classes=classes)
    out = A.new_empty(len(A), program.rows, A.shape[2])
    _by_atom(program, "contraction_forward", A, c, classes, out)
    return out


def contraction_backward(
    program: PolynomialProgram,
    A: Features,
    c: Coefficients,
    classes: Int[Tensor, " atom"],
    g: Rows,
    *,
    features: bool = True,
    coefficients: bool = False,
) -> tuple[Features | None, Coefficients | None]:
    """Gradients of <g, out> by A and by c; None for what is not asked for."""
    A, c, classes, g = contiguous(A=A, c=c, classes=classes, g=g)
    gA = torch.empty_like(A) if features else None
    if gA is not None:
        _by_atom(program, "contraction_backward", A, c, classes, g, gA)
    return gA, _by_class(program, "contraction_coefficients", c, classes, A, g) if coefficients else None


def contraction_second(
    program: PolynomialProgram,
    A: Features,
    c: Coefficients,
    classes: Int[Tensor, " atom"],
    g: Rows,
    vA: Features,
    vc: Coefficients | None = None,
    *,
    coefficients: bool = True,
) -> tuple[Rows, Features, Coefficients | None]:
    """Gradients of <vA, gA> + <vc, gc> by g (the tangent of out), A and c; None for c where it is not asked for."""
    A, c, classes, g, vA, vc = contiguous(A=A, c=c, classes=classes, g=g, vA=vA, vc=vc)
    dg, dA = torch.empty_like(g), torch.empty_like(A)
    if vc is None:
        _by_atom(program, "contraction_second", A, c, classes, g, vA, dg, dA)
    else:
        _by_atom(program, "contraction_second_full", A, c, classes, g, vA, vc, dg, dA)
    dc = _by_class(program, "contraction_coefficients_second", c, classes, A, g, vA) if coefficients else None
    return dg, dA, dc


def _by_atom(program: PolynomialProgram, name: str, *tensors: Tensor) -> None:
    atoms, _, channels = tensors[0].shape
    block = min(channel_block(channels), CHANNELS_OF_A_PRODUCT)
    for part in range(len(parts(program))):
        launch(getattr(_kernels(program), name), (atoms, channels // block), *tensors, K=channels, BK=block, PART=part)


def _by_class(program: PolynomialProgram, name: str, c: Tensor, classes: Tensor, *of_atom: Tensor) -> Coefficients:
    """Atoms of a class, piece by piece, then the pieces of each class: always in the same order."""
    kernels, (n_classes, slots, channels) = _kernels(program), c.shape
    cut = pieces(classes, n_classes)
    by_piece = c.new_empty(len(cut.segment), slots, channels)
    block, gradient = channel_block(channels), torch.empty_like(c)
    grid, sizes = (len(by_piece), channels // block), {"K": channels, "BK": block}
    for group in range(-(-slots // SLOTS_OF_A_GROUP)):
        tensors = (*of_atom, cut.order, cut.begin, cut.end, by_piece)
        launch(getattr(kernels, name), grid, *tensors, **sizes, GROUP=group)
    size = slots * channels
    grid = (n_classes, -(-size // _SUMMED_BY_A_WARP))
    launch(kernels.coefficients_sum, grid, by_piece, cut.first, gradient, size, BLOCK=_SUMMED_BY_A_WARP)
    return gradient
