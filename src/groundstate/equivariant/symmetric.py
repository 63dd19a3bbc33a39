"""Equivariant polynomials of one feature: the independent couplings of ν equal factors.

The product A ⊗ A ⊗ … of a feature with itself is symmetric, so most ways of coupling its factors coincide. What is left
is a polynomial in the components of A, kept as monomials and coefficients; the count of independent couplings is what
the model can learn (8 for L = 0 and 12 for L = 1 at ν = 3, lmax = 3).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np

from groundstate.equivariant.coupling import coupling_coefficients
from groundstate.equivariant.irreps import degree_slice


@dataclass(frozen=True)
class CouplingTree:
    """How a coupling was built: ((l1 l2) k2, l3) k3 … from degrees (l1, l2, …) by intermediates (k2, …, L)."""

    degrees: tuple[int, ...]
    intermediates: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SymmetricCouplings:
    """Independent homogeneous polynomials of A, of one order, that turn like degree L; arrays are read-only.

    monomials[monomial, order]: sorted positions on the `irrep` axis. coefficients[coupling, 2L+1, monomial], float64.
    trees[coupling]: where each coupling comes from. Coupling η is B_ηM = Σ_monomial coefficients · Π A[monomials].
    """

    L: int
    order: int
    monomials: np.ndarray
    coefficients: np.ndarray
    trees: tuple[CouplingTree, ...]

    def second_moments(self) -> np.ndarray:
        """⟨B_ηM²⟩ for independent standard normal components of A: one number per coupling, the same for every M."""
        return np.array([_second_moment(self.monomials, coupling[self.L]) for coupling in self.coefficients])


@cache
def symmetric_couplings(lmax: int, L: int, order: int) -> SymmetricCouplings:
    """All independent couplings of `order` equal factors of degrees 0 … lmax to degree L with natural parity.

    Order and sign are part of the model file's meaning and never change: multisets l1 ≤ l2 ≤ … in lexicographic order;
    within one, left-coupled trees in lexicographic order of their intermediates, each made orthogonal to those before
    it and dropped when nothing is left. The sign is that of the tree it started from.

    Norm: seen as a symmetric tensor [2L+1, irrep, …, irrep], couplings are orthogonal and each M has Frobenius norm 1.

    Source: the product basis of Batatia et al., MACE, NeurIPS 2022 (arXiv:2206.07697), reduced by permutation symmetry
    as in Dusson et al., J. Comput. Phys. 454, 110946 (2022). Checked: tests/equivariant/test_symmetric.py
    """
    if min(lmax, L) < 0 or order < 1:
        raise ValueError(
            f"EQUIVARIANT_ORDER: lmax {lmax}, L {L}, order {order} describe no polynomial. "
            "Give lmax ≥ 0, L ≥ 0 and order ≥ 1."
        )
    found: list[tuple[np.ndarray, np.ndarray]] = []
    trees: list[CouplingTree] = []
    for degrees in combinations_with_replacement(range(lmax + 1), order):
        if (sum(degrees) + L) % 2 == 0:
            monomials, coefficients, chosen = _couplings_of_multiset(degrees, L)
            if chosen:
                found.append((monomials, coefficients))
                trees += [CouplingTree(degrees, intermediates) for intermediates in chosen]
    return _assemble(L, order, found, tuple(trees))


def _assemble(
    L: int, order: int, found: list[tuple[np.ndarray, np.ndarray]], trees: tuple[CouplingTree, ...]
) -> SymmetricCouplings:
    """Put the multisets, which share no monomial, side by side."""
    total = sum(monomials.shape[0] for monomials, _ in found)
    monomials = np.zeros((total, order), dtype=np.int64)
    coefficients = np.zeros((len(trees), 2 * L + 1, total))
    row = column = 0
    for block_monomials, block in found:
        last_row, last_column = row + block.shape[0], column + block.shape[2]
        monomials[column:last_column] = block_monomials
        coefficients[row:last_row, :, column:last_column] = block
        row, column = last_row, last_column
    monomials.setflags(write=False)
    coefficients.setflags(write=False)
    return SymmetricCouplings(L, order, monomials, coefficients, trees)


def _couplings_of_multiset(degrees: tuple[int, ...], L: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, ...]]]:
    """Monomials, orthonormal coefficients [coupling, 2L+1, monomial] and intermediates for one multiset of degrees."""
    positions = [np.arange(degree_slice(l).start, degree_slice(l).stop) for l in degrees]
    factors = np.stack(np.meshgrid(*positions, indexing="ij"), axis=-1).reshape(-1, len(degrees))
    monomials, which = np.unique(np.sort(factors, axis=1), axis=0, return_inverse=True)
    which = which.reshape(-1)
    permutations = np.array([_distinct_permutations(monomial) for monomial in monomials])

    basis: list[np.ndarray] = []  # entries √weight · coefficient, so that the symmetric tensor's norm is the plain one
    chosen: list[tuple[int, ...]] = []
    for intermediates, tree in _trees(degrees, L):
        polynomial = np.zeros((2 * L + 1, monomials.shape[0]))
        np.add.at(polynomial.T, which, tree)
        vector = (polynomial / np.sqrt(permutations)).ravel()
        for _ in range(2):  # the second pass removes what rounding left of the first
            for other in basis:
                vector = vector - other * (other @ vector)
        norm = np.linalg.norm(vector)
        if norm > 1e-7 * np.linalg.norm(tree):
            basis.append(vector / norm)
            chosen.append(intermediates)
    if not basis:
        return monomials[:0], np.zeros((0, 2 * L + 1, 0)), []
    coefficients = np.stack(basis).reshape(len(basis), 2 * L + 1, -1) * np.sqrt((2 * L + 1) * permutations)
    coefficients[np.abs(coefficients) < 1e-12] = 0.0
    used = np.any(coefficients != 0.0, axis=(0, 1))
    return monomials[used], coefficients[:, :, used], chosen


def _trees(degrees: tuple[int, ...], L: int) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Left-coupled trees that end in L: intermediates and coefficients [product of factors, 2L+1]."""

    def grow(done: int, reached: int, tensor: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        if done == len(degrees):
            if reached == L:
                yield (), tensor
            return
        rest = sum(degrees[done + 1 :])
        for k in range(abs(reached - degrees[done]), reached + degrees[done] + 1):
            if k - rest <= L <= k + rest:
                coefficients = coupling_coefficients(reached, degrees[done], k)
                grown = np.einsum("pa,abc->pbc", tensor, coefficients).reshape(-1, 2 * k + 1)
                for intermediates, tree in grow(done + 1, k, grown):
                    yield (k, *intermediates), tree

    yield from grow(1, degrees[0], np.eye(2 * degrees[0] + 1))


def _distinct_permutations(monomial: np.ndarray) -> int:
    """Number of different orderings of the factors of a monomial."""
    counts = Counter(monomial.tolist()).values()
    return factorial(len(monomial)) // prod(factorial(count) for count in counts)


def _second_moment(monomials: np.ndarray, coefficients: np.ndarray) -> float:
    """⟨p²⟩ of a polynomial under independent standard normal variables, from ⟨x^2n⟩ = (2n−1)!!."""
    used = np.flatnonzero(coefficients)
    order = monomials.shape[1]
    moments = np.zeros(2 * order + 1)
    moments[::2] = [factorial(2 * n) / (2**n * factorial(n)) for n in range(order + 1)]
    gram = np.ones((used.size, used.size))
    for variable in np.unique(monomials[used]):
        power = (monomials[used] == variable).sum(axis=1)
        gram *= moments[power[:, None] + power[None, :]]
    return float(coefficients[used] @ gram @ coefficients[used])
