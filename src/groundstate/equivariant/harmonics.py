"""Real spherical harmonics as polynomials of the Cartesian components."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def spherical_harmonics(lmax: int, unit_vectors: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge irrep"]:
    """Real spherical harmonics of degree 0 … lmax, component-normalised: Σ_m Y_lm² = 2l+1 on the unit sphere.

    z is polar and there is no Condon–Shortley phase: degree 1 is √3 (y, z, x). For a vector that is not of unit length
    the result is the solid harmonic |r|^l Y_lm(r/|r|), a homogeneous polynomial; it has no pole, so it and all its
    derivatives are finite everywhere. Dimensionless, in the dtype of the input.

    The factor that depends on z is the fully normalised associated Legendre function divided by (sin θ)^m, by the
    recursion of Holmes and Featherstone, J. Geodesy 76, 279 (2002); the other factors are the real and
    imaginary part of (x + iy)^m.
    Checked: tests/equivariant/test_spherical_harmonics.py
    """
    x, y, z = unit_vectors.unbind(-1)
    squared = x * x + y * y + z * z
    cosine, sine = torch.ones_like(x), torch.zeros_like(x)  # Re and Im of (x + iy)^m
    components: dict[tuple[int, int], Tensor] = {}
    sectoral = 1.0
    for m in range(lmax + 1):
        if m > 0:
            cosine, sine = x * cosine - y * sine, x * sine + y * cosine
            sectoral *= math.sqrt(3.0) if m == 1 else math.sqrt((2 * m + 1) / (2 * m))
        for l, polar in enumerate(_polar_factors(m, lmax, sectoral, z, squared), start=m):
            components[l, m] = polar * cosine
            if m > 0:
                components[l, -m] = polar * sine
    return torch.stack([components[l, m] for l in range(lmax + 1) for m in range(-l, l + 1)], dim=-1)


def _polar_factors(m: int, lmax: int, sectoral: float, z: Tensor, squared: Tensor) -> list[Tensor]:
    """The polynomial in z and r² that multiplies (x + iy)^m, for l = m … lmax."""
    factors = [torch.full_like(z, sectoral)]
    for l in range(m + 1, lmax + 1):
        scale = (2 * l + 1) / ((l - m) * (l + m))
        factor = math.sqrt(scale * (2 * l - 1)) * z * factors[-1]
        if l > m + 1:
            factor = factor - math.sqrt(scale * (l + m - 1) * (l - m - 1) / (2 * l - 3)) * squared * factors[-2]
        factors.append(factor)
    return factors
