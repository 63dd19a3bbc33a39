"""Kernels against plain torch, on a handful of atoms, before their first use: fast and wrong is the worst of all."""

from collections.abc import Callable

import torch
from torch import Tensor

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.harmonics import spherical_harmonics
from groundstate.equivariant.native.library import Library
from groundstate.equivariant.operators.calls import using
from groundstate.equivariant.operators.harmonics import harmonics
from groundstate.equivariant.operators.message import message
from groundstate.equivariant.operators.product import product
from groundstate.equivariant.operators.reference import message_reference, product_reference

_TOLERANCE = {"float32": 2e-4, "float64": 1e-10}
_ATOMS, _EDGES, _INTERVALS, _CLASSES = 5, 17, 4, 2


def check_operators(spec: KernelSpec, library: Library) -> str | None:
    """What is wrong with the values or the derivatives of a library; `None` when they agree with plain torch."""
    dtype = getattr(torch, spec.dtype)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    receivers = torch.randint(_ATOMS, (_EDGES,), generator=generator).sort().values
    ptr = torch.searchsorted(receivers, torch.arange(_ATOMS + 1))
    senders = torch.randint(_ATOMS, (_EDGES,), generator=generator)
    which = torch.randint(2, (_EDGES,), generator=generator, dtype=torch.int32)
    x = torch.rand(_EDGES, generator=generator, dtype=torch.float64) * 1.1
    unit = torch.nn.functional.normalize(normal(_EDGES, 3), dim=1)
    classes = torch.randint(_CLASSES, (_ATOMS,), generator=generator)
    with using(spec, library):
        wrong = _compare(
            spec,
            "harmonics",
            lambda v: harmonics(spec, torch.nn.functional.normalize(v, dim=1)),
            lambda v: spherical_harmonics(spec.lmax, torch.nn.functional.normalize(v, dim=1)),
            [unit],
            dtype,
        )
        for degree, program in spec.messages.items():
            shape = (2, _INTERVALS + 1, spec.channels // 16, len(program.paths), spec.order, 16)
            inputs = [
                normal(_ATOMS, program.features, spec.channels),
                normal(*shape),
                x,
                normal(_EDGES, program.harmonics),
            ]
            wrong = wrong or _compare(
                spec,
                f"message of degree {degree}",
                lambda h, t, r, y, degree=degree: message(spec, degree, h, t, r, y, ptr, senders, which),
                lambda h, t, r, y, program=program: message_reference(program, h, t, r, y, ptr, senders, which),
                inputs,
                dtype,
            )
        for degree, polynomial in spec.products.items():
            inputs = [
                normal(_ATOMS, polynomial.features, spec.channels),
                normal(_CLASSES, polynomial.slots, spec.channels),
            ]
            wrong = wrong or _compare(
                spec,
                f"product to degree {degree}",
                lambda a, c, degree=degree: product(spec, degree, a, c, classes),
                lambda a, c, polynomial=polynomial: product_reference(polynomial, a, c, classes),
                inputs,
                dtype,
            )
    return wrong


def _compare(
    spec: KernelSpec,
    name: str,
    ours: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    inputs: list[Tensor],
    dtype: torch.dtype,
) -> str | None:
    rounded = [tensor.to(dtype) for tensor in inputs]
    found = _with_derivatives(ours, rounded)
    expected = _with_derivatives(reference, [tensor.double() for tensor in rounded])
    for what, a, b in zip(("value", "first derivative", "second derivative"), found, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            error = float((x.double() - y).abs().max() / y.abs().max().clamp_min(1e-300))
            if not error < _TOLERANCE[spec.dtype]:
                return f"the {name} is wrong ({what}: relative error {error:.1e})"
    return None


def _with_derivatives(function: Callable[..., Tensor], inputs: list[Tensor]) -> tuple[list[Tensor], ...]:
    """Value, gradient of a scalar made of it, and gradient of a scalar made of that gradient."""
    with torch.enable_grad():
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        value = function(*leaves)
        # Squared, so that the cotangent of the value depends on it and its own derivative is tried.
        first = torch.autograd.grad((value**2 * _wave(value)).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(torch.stack([(g * _wave(g)).sum() for g in first]).sum(), leaves)
    return [value.detach()], [g.detach() for g in first], list(second)


def _wave(like: Tensor) -> Tensor:
    """Weights of order one that repeat nowhere, the same in every number type."""
    n = torch.arange(like.numel(), dtype=torch.float64)
    return torch.cos(n * 0.7390851 + 0.5).reshape(like.shape).to(like.dtype)
