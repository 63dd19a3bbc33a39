"""Coupling of real angular momenta: real 3j coefficients and the paths they allow."""

import math
from fractions import Fraction
from functools import cache
from math import factorial
from typing import NamedTuple

import numpy as np

from groundstate.equivariant.irreps import degree_slice, dimension


class Path(NamedTuple):
    """One way of coupling a feature with a harmonic: l_feature ⊗ l_harmonic → l_out."""

    feature: int
    harmonic: int
    out: int


def natural_parity_paths(lmax_harmonics: int, lmax_features: int, lmax_out: int) -> tuple[Path, ...]:
    """All couplings that obey the triangle rule and keep natural parity (l_feature + l_harmonic + l_out even).

    Sorted by out, then feature, then harmonic: the order of weights and rows everywhere.
    Checked: tests/equivariant/test_coupling.py
    """
    return tuple(
        Path(feature, harmonic, out)
        for out in range(lmax_out + 1)
        for feature in range(lmax_features + 1)
        for harmonic in range(abs(feature - out), min(feature + out, lmax_harmonics) + 1)
        if (feature + harmonic + out) % 2 == 0
    )


@cache
def coupling_coefficients(l1: int, l2: int, l3: int) -> np.ndarray:
    """Real 3j coefficients C[2l1+1, 2l2+1, 2l3+1], float64, read-only: the tensor that no rotation changes.

    Σ_{ijk} C² = 1, hence Σ_{ij} C_ijk C_ijk' = δ_kk'/(2l3+1). Invariant also under reflection when l1+l2+l3 is even;
    a pseudo-scalar when odd (C(1,1,1) is the Levi-Civita tensor/√6).

    Sign: for an even sum C[m1=m2=m3=0] > 0, so the coupling of Y_l1(r) with Y_l2(r) is a positive multiple of Y_l3(r).
    For an odd sum it follows from C = Re[i^(l3−l1−l2) Σ u u u* ⟨l1 m1 l2 m2|l3 m3⟩]/√(2l3+1), u the unitary matrix of
    `_real_from_complex`. Both agree with e3nn's `wigner_3j`, sign included.

    Zeros are exact, the rest is good to 1e-14. Source: Racah, Phys. Rev. 62, 438 (1942), his closed formula in exact
    integers, then the change of basis. Checked: tests/equivariant/test_coupling.py
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(
            f"EQUIVARIANT_TRIANGLE: degrees {l1}, {l2}, {l3} violate |l1−l2| ≤ l3 ≤ l1+l2. "
            "No invariant tensor exists. Ask only for allowed triples."
        )
    complex_coefficients = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            complex_coefficients[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3)
    u1, u2, u3 = (_real_from_complex(l) for l in (l1, l2, l3))
    coefficients = np.einsum("ai,bj,ck,ijk->abc", u1.conj(), u2.conj(), u3, complex_coefficients, optimize=True)
    coefficients = np.real(1j ** ((l3 - l1 - l2) % 4) * coefficients) / math.sqrt(2 * l3 + 1)
    coefficients[np.abs(coefficients) < 1e-12] = 0.0
    coefficients.setflags(write=False)
    return coefficients


def _clebsch_gordan(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """⟨l1 m1 l2 m2 | l3 m1+m2⟩ with the Condon–Shortley phase; integers until the last square root."""
    m3 = m1 + m2
    total = Fraction(0)
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        below = factorial(k) * factorial(l1 + l2 - l3 - k) * factorial(l1 - m1 - k)
        below *= factorial(l2 + m2 - k) * factorial(l3 - l2 + m1 + k) * factorial(l3 - l1 - m2 + k)
        total += Fraction((-1) ** k, below)
    squared = Fraction(
        (2 * l3 + 1) * factorial(l1 + l2 - l3) * factorial(l1 - l2 + l3) * factorial(l2 - l1 + l3),
        factorial(l1 + l2 + l3 + 1),
    )
    for l, m in ((l1, m1), (l2, m2), (l3, m3)):
        squared *= factorial(l + m) * factorial(l - m)
    return math.copysign(math.sqrt(squared * total * total), total)


@cache
def _real_from_complex(l: int) -> np.ndarray:
    """Unitary u with Y_real = u · Y_complex, rows and columns m = −l … l, Condon–Shortley phase on the complex side."""
    u = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    u[l, l] = 1.0
    for m in range(1, l + 1):
        u[l + m, l + m] = (-1) ** m / math.sqrt(2)
        u[l + m, l - m] = 1 / math.sqrt(2)
        u[l - m, l + m] = -1j * (-1) ** m / math.sqrt(2)
        u[l - m, l - m] = 1j / math.sqrt(2)
    return u


def dense_coupling(paths: tuple[Path, ...], lmax_features: int, lmax_harmonics: int) -> list[np.ndarray]:
    """For each path its coefficients placed among all degrees: [2l_out+1, irrep of feature, irrep of harmonic].

    Scaled by √(2l_out+1): independent inputs of unit variance give outputs of unit variance.
    """
    placed = []
    for feature, harmonic, out in paths:
        block = np.zeros((2 * out + 1, dimension(lmax_features), dimension(lmax_harmonics)))
        coefficients = math.sqrt(2 * out + 1) * coupling_coefficients(feature, harmonic, out)
        block[:, degree_slice(feature), degree_slice(harmonic)] = np.moveaxis(coefficients, 2, 0)
        placed.append(block)
    return placed
