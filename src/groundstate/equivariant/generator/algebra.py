"""What kernels compute, as plain data: sparse programs over components, the same for every language.

A program knows components and coefficients; channels, atoms and number types belong to the emitters. Needs numpy only.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from groundstate.equivariant.coupling import Path, dense_coupling, natural_parity_paths
from groundstate.equivariant.factorisation import normalised_couplings
from groundstate.equivariant.irreps import IrrepLayout, degree_slice, dimension

MAX_LMAX, MAX_HIDDEN, MAX_CORRELATION, CHANNEL_BLOCK = 4, 2, 3, 16
"""The range kernels are generated for; channels come in blocks of `CHANNEL_BLOCK`."""


@dataclass(frozen=True)
class FoldedCoupling:
    """One entry of B = C·Y: out component `m_out` of a path from feature component `m_feature`; Σ coefficient · Y."""

    path: int
    m_out: int
    m_feature: int
    terms: tuple[tuple[int, float], ...]  # (position on the irrep axis of the harmonics, coefficient)


@dataclass(frozen=True)
class MessageProgram:
    """M[row] = Σ_edges R[path] Σ_a B[path, m, a] h[a] with B linear in the harmonics of the edge.

    Rows lie as `layout` says: by degree, then m, then path of that degree, so that the rows of one degree are the
    [2l+1, copies · channels] a linear map wants. Coefficients are those of `TensorProduct`.
    """

    lmax_features: int
    lmax_harmonics: int
    lmax_out: int

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """In the order of `natural_parity_paths`."""
        return natural_parity_paths(self.lmax_harmonics, self.lmax_features, self.lmax_out)

    @cached_property
    def layout(self) -> IrrepLayout:
        """Where output rows lie."""
        return IrrepLayout(tuple(sum(p.out == l for p in self.paths) for l in range(self.lmax_out + 1)))

    @cached_property
    def couplings(self) -> tuple[FoldedCoupling, ...]:
        """All nonzero entries of B, path by path."""
        found = []
        blocks = dense_coupling(self.paths, self.lmax_features, self.lmax_harmonics)
        for p, (path, block) in enumerate(zip(self.paths, blocks, strict=True)):
            part = block[:, degree_slice(path.feature)]
            for m_out in range(2 * path.out + 1):
                for m_feature in range(2 * path.feature + 1):
                    row = part[m_out, m_feature]
                    if used := np.flatnonzero(row).tolist():
                        terms = tuple((y, float(row[y])) for y in used)
                        found.append(FoldedCoupling(p, m_out, m_feature, terms))
        return tuple(found)

    def row(self, path: int, m_out: int) -> int:
        """Output row of a component of a path."""
        out = self.paths[path].out
        copy = sum(other.out == out for other in self.paths[:path])
        return self.layout.rows_of(out).start + m_out * self.layout.copies[out] + copy

    @property
    def features(self) -> int:
        """Components of the features."""
        return dimension(self.lmax_features)

    @property
    def harmonics(self) -> int:
        """Components of the harmonics."""
        return dimension(self.lmax_harmonics)

    @property
    def rows(self) -> int:
        """Components of the output."""
        return self.layout.rows


@dataclass(frozen=True)
class Monomial:
    """Coefficient slot of a product of components, sorted; the empty product does not occur."""

    factors: tuple[int, ...]
    slot: int


@dataclass(frozen=True)
class Branch:
    """A_factor · (coefficient[slot] + Σ children): one node of a Horner tree; slot None where no monomial ends here."""

    factor: int
    slot: int | None
    children: tuple["Branch", ...]


@dataclass(frozen=True)
class PolynomialProgram:
    """The symmetric contraction as polynomials: out[M] = Σ_monomial c[slot] Π A[factors], c folded from few weights.

    Every monomial of every output has a slot of its own. `fold` gives c = fold @ weights, weights in the order of
    `SymmetricContraction`: degree L slowest, then order, then coupling; normalisation included.
    """

    lmax_in: int
    lmax_out: int
    correlation: int

    @cached_property
    def outputs(self) -> tuple[tuple[Monomial, ...], ...]:
        """For each output component its monomials, sorted by factors."""
        return self._made[0]

    @cached_property
    def fold(self) -> NDArray[np.float64]:
        """[slot, weight]"""
        return self._made[1]

    @cached_property
    def weights_of_degree(self) -> tuple[int, ...]:
        """Number of weights of each L."""
        return tuple(
            sum(len(normalised_couplings(self.lmax_in, L, order)[1]) for order in range(1, self.correlation + 1))
            for L in range(self.lmax_out + 1)
        )

    @property
    def slots(self) -> int:
        """Number of coefficients for each class and channel."""
        return len(self.fold)

    @cached_property
    def trees(self) -> tuple[tuple[Branch, ...], ...]:
        """For each output component its Horner tree."""
        return tuple(_horner(monomials, 0) for monomials in self.outputs)

    @property
    def features(self) -> int:
        """Components of A."""
        return dimension(self.lmax_in)

    @property
    def rows(self) -> int:
        """Components of the output."""
        return dimension(self.lmax_out)

    @cached_property
    def _made(self) -> tuple[tuple[tuple[Monomial, ...], ...], NDArray[np.float64]]:
        outputs: list[tuple[Monomial, ...]] = []
        entries: list[tuple[int, int, float]] = []
        slot, first = 0, 0
        for L, count in enumerate(self.weights_of_degree):
            scale = 1.0 / np.sqrt(max(count, 1))
            for M in range(2 * L + 1):
                columns: dict[tuple[int, ...], list[tuple[int, float]]] = {}
                weight = first
                for order in range(1, self.correlation + 1):
                    monomials, coefficients = normalised_couplings(self.lmax_in, L, order)
                    for eta in range(len(coefficients)):
                        for i in np.flatnonzero(coefficients[eta, M]).tolist():
                            value = scale * float(coefficients[eta, M, i])
                            columns.setdefault(tuple(monomials[i].tolist()), []).append((weight + eta, value))
                    weight += len(coefficients)
                listed = []
                for factors in sorted(columns):
                    listed.append(Monomial(factors, slot))
                    entries += [(slot, w, value) for w, value in columns[factors]]
                    slot += 1
                outputs.append(tuple(listed))
            first += count
        fold = np.zeros((slot, first))
        for row, column, value in entries:
            fold[row, column] = value
        return tuple(outputs), fold


def _horner(monomials: tuple[Monomial, ...], depth: int) -> tuple[Branch, ...]:
    by_factor: dict[int, list[Monomial]] = {}
    for monomial in monomials:
        by_factor.setdefault(monomial.factors[depth], []).append(monomial)
    branches = []
    for factor, group in sorted(by_factor.items()):
        ends = [m.slot for m in group if len(m.factors) == depth + 1]
        longer = tuple(m for m in group if len(m.factors) > depth + 1)
        branches.append(Branch(factor, ends[0] if ends else None, _horner(longer, depth + 1)))
    return tuple(branches)


Polynomial = dict[tuple[int, int, int], float]
"""Coefficients by the exponents of x, y, z."""


@cache
def harmonic_polynomials(lmax: int) -> tuple[Polynomial, ...]:
    """`spherical_harmonics` as polynomials of a unit vector, in the order of the irrep axis.

    Solid harmonics with r² written as 1: of a vector of unit length they and all the derivatives that are projected on
    its tangent plane are the same. Source: the recursion of `spherical_harmonics`.
    """
    x, y, one = {(1, 0, 0): 1.0}, {(0, 1, 0): 1.0}, {(0, 0, 0): 1.0}
    cosine, sine = one, Polynomial()
    found: dict[tuple[int, int], Polynomial] = {}
    sectoral = 1.0
    for m in range(lmax + 1):
        if m > 0:
            cosine, sine = (
                _sum(_product(x, cosine), _product(y, sine), -1.0),
                _sum(_product(x, sine), _product(y, cosine), 1.0),
            )
            sectoral *= np.sqrt(3.0) if m == 1 else np.sqrt((2 * m + 1) / (2 * m))
        polar: list[Polynomial] = [{(0, 0, 0): float(sectoral)}]
        for l in range(m + 1, lmax + 1):
            scale = (2 * l + 1) / ((l - m) * (l + m))
            raised = _product({(0, 0, 1): float(np.sqrt(scale * (2 * l - 1)))}, polar[-1])
            if l > m + 1:
                below = float(np.sqrt(scale * (l + m - 1) * (l - m - 1) / (2 * l - 3)))
                raised = _sum(raised, polar[-2], -below)
            polar.append(raised)
        for l, factor in enumerate(polar, start=m):
            found[l, m] = _product(factor, cosine)
            if m > 0:
                found[l, -m] = _product(factor, sine)
    return tuple(found[l, m] for l in range(lmax + 1) for m in range(-l, l + 1))


def derivative(polynomial: Polynomial, axis: int) -> Polynomial:
    """∂/∂x, ∂/∂y or ∂/∂z."""
    found: Polynomial = {}
    for exponents, value in polynomial.items():
        if exponents[axis]:
            lowered = list(exponents)
            lowered[axis] -= 1
            found[lowered[0], lowered[1], lowered[2]] = value * exponents[axis]
    return found


def _product(p: Polynomial, q: Polynomial) -> Polynomial:
    found: Polynomial = {}
    for (a, b, c), u in p.items():
        for (d, e, f), v in q.items():
            key = (a + d, b + e, c + f)
            found[key] = found.get(key, 0.0) + u * v
    return found


def _sum(p: Polynomial, q: Polynomial, factor: float) -> Polynomial:
    found = dict(p)
    for key, value in q.items():
        found[key] = found.get(key, 0.0) + factor * value
    return {key: value for key, value in found.items() if abs(value) > 1e-14}
