"""The kernels of the harmonics against `spherical_harmonics` and autograd of the polynomials."""

import pytest
import torch
from torch import Tensor

from groundstate.equivariant import spherical_harmonics
from groundstate.equivariant.generator.algebra import harmonic_polynomials
from groundstate.equivariant.triton_kernels import harmonics_forward, harmonics_jvp, harmonics_second, harmonics_vjp


def polynomials(lmax: int, u: Tensor) -> Tensor:
    x, y, z = u.unbind(-1)
    rows = [
        sum((value * x**a * y**b * z**c for (a, b, c), value in polynomial.items()), torch.zeros_like(x))
        for polynomial in harmonic_polynomials(lmax)
    ]
    return torch.stack(rows, dim=-1)


def close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return torch.allclose(found.double().cpu(), expected.detach(), rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("lmax", [0, 1, 3, 4])
def test_value_and_derivatives(lmax: int, precision: tuple[torch.dtype, float], device: torch.device) -> None:
    dtype, tolerance = precision
    generator = torch.Generator().manual_seed(lmax)
    u, v = torch.randn(2, 37, 3, dtype=torch.float64, generator=generator)
    u = torch.nn.functional.normalize(u, dim=-1).requires_grad_()
    gY = torch.randn(37, (lmax + 1) ** 2, dtype=torch.float64, generator=generator).requires_grad_()
    Y = polynomials(lmax, u)
    assert torch.allclose(Y, spherical_harmonics(lmax, u), rtol=1e-12, atol=1e-12)
    (gu,) = torch.autograd.grad((gY * Y).sum() + 0 * u.sum(), u, create_graph=True)
    dgY, du = torch.autograd.grad((v * gu).sum() + 0 * (u.sum() + gY.sum()), (gY, u))

    here = {"device": device, "dtype": dtype}
    on_device = [t.detach().to(**here) for t in (u, gY, v)]
    assert close(harmonics_forward(lmax, on_device[0]), Y, tolerance)
    assert close(harmonics_vjp(lmax, on_device[0], on_device[1]), gu, tolerance)
    assert close(harmonics_jvp(lmax, on_device[0], on_device[2]), dgY, tolerance)
    found = harmonics_second(lmax, *on_device)
    assert close(found[0], dgY, tolerance)
    assert close(found[1], du, tolerance)


def test_no_edges(device: torch.device) -> None:
    assert harmonics_forward(3, torch.zeros(0, 3, device=device)).shape == (0, 16)
