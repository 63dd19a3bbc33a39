"""The cheap way to a symmetric polynomial: couple all factors but one, weight, then couple the last.

A polynomial of order ν in A has many monomials (355 for ν = 3, lmax = 3, L ≤ 1) and few couplings (20). Each coupling
is a sum of trees (V ⊗ A_l)_L with V a coupling of order ν − 1 and degree k, and trees that share (L, k, l) can be
weighted and added before their product with A is formed. That leaves a few products in place of all monomials.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundstate.equivariant.coupling import coupling_coefficients
from groundstate.equivariant.symmetric import symmetric_couplings

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tree(NamedTuple):
    """(V ⊗ A_last)_L with V the coupling of that number and degree k among those one order lower."""

    k: int
    number: int
    last: int


@dataclass(frozen=True, eq=False)
class Bilinear:
    """out = matrix @ (x[left] · y[right]): every product formed once, then added up."""

    left: Integers
    right: Integers
    matrix: Floats


@dataclass(frozen=True, eq=False)
class Factorisation:
    """Couplings of orders 1 … `correlation` to degrees 0 … lmax_out, normalised, as a sequence of bilinear steps.

    lower      for orders 2 … correlation − 1: V of that order from V of the order below (A for the first) and A
    value      row of the stacked [A, V of order 2, …] that each weighted row takes
    tree       weight it is multiplied by: row of `tree_weights`
    total      which rows of the last product's left factor the weighted rows add up to: [sum, weighted row], 0 or 1
    last       output rows from those sums and A
    mix        tree weights from coupling weights, per degree L: [tree, coupling of L]; the first tree of each L is A_L
    """

    lower: tuple[Bilinear, ...]
    value: Integers
    tree: Integers
    total: Floats
    last: Bilinear
    mix: tuple[Floats, ...]


@cache
def normalised_couplings(lmax: int, L: int, order: int) -> tuple[Integers, Floats]:
    """Monomials and coefficients of `symmetric_couplings` over their root mean square under standard normal A."""
    couplings = symmetric_couplings(lmax, L, order)
    scale = 1.0 / np.sqrt(couplings.second_moments())
    return couplings.monomials, couplings.coefficients * scale.reshape(-1, 1, 1)


@cache
def trees_of(lmax: int, L: int, order: int) -> tuple[tuple[Tree, ...], Floats]:
    """As many trees as there are couplings of `order` ≥ 2, cheapest first, and matrix[coupling, tree] to make them.

    Intermediates of natural parity suffice; this is verified for each set of degrees. Checked:
    tests/equivariant/test_factorisation.py
    """
    couplings, (monomials, coefficients) = symmetric_couplings(lmax, L, order), normalised_couplings(lmax, L, order)
    position = {tuple(monomial): i for i, monomial in enumerate(monomials.tolist())}
    of_degrees: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, tree in enumerate(couplings.trees):
        of_degrees[tree.degrees].append(i)
    chosen: list[Tree] = []
    matrix = np.zeros((len(couplings.trees), len(couplings.trees)))
    for degrees, members in of_degrees.items():
        trees, polynomials = _independent(lmax, L, degrees, len(members), position)
        target = coefficients[members].reshape(len(members), -1)
        solution = np.linalg.lstsq(polynomials.T, target.T, rcond=None)[0].T
        if len(trees) < len(members) or np.abs(solution @ polynomials - target).max() > 1e-9:
            raise ArithmeticError(f"couplings of degrees {degrees} to {L} are not spanned by natural intermediates")
        matrix[np.ix_(members, range(len(chosen), len(chosen) + len(trees)))] = solution
        chosen += trees
    return tuple(chosen), matrix


def _independent(
    lmax: int, L: int, degrees: tuple[int, ...], count: int, position: dict[tuple[int, ...], int]
) -> tuple[list[Tree], Floats]:
    """The `count` cheapest linearly independent trees of one multiset of degrees, and their polynomials."""
    candidates = []
    for last in sorted(set(degrees)):
        rest = list(degrees)
        rest.remove(last)
        for k in range(abs(L - last), L + last + 1):
            if (k + last + L) % 2 == 0:
                trees = symmetric_couplings(lmax, k, len(rest)).trees
                candidates += [Tree(k, i, last) for i, tree in enumerate(trees) if tree.degrees == tuple(rest)]
    candidates.sort(key=lambda tree: ((2 * tree.k + 1) * (2 * tree.last + 1), tree))
    found: list[Tree] = []
    polynomials: list[Floats] = []
    basis: list[Floats] = []
    for tree in candidates:
        if len(found) == count:
            break
        polynomial = _polynomial(lmax, L, len(degrees), tree, position).ravel()
        left = polynomial.copy()
        for _ in range(2):  # the second pass removes what rounding left of the first
            for other in basis:
                left -= other * (other @ left)
        norm = np.linalg.norm(left)
        if norm > 1e-6 * np.linalg.norm(polynomial):
            found.append(tree)
            polynomials.append(polynomial)
            basis.append(left / norm)
    return found, np.array(polynomials)


def _polynomial(lmax: int, L: int, order: int, tree: Tree, position: dict[tuple[int, ...], int]) -> Floats:
    """Coefficients of a tree on the monomials at `position`: [2L+1, monomial]."""
    monomials, coefficients = normalised_couplings(lmax, tree.k, order - 1)
    coupling = math.sqrt(2 * L + 1) * coupling_coefficients(tree.k, tree.last, L)
    polynomial = np.zeros((2 * L + 1, len(position)))
    used = np.flatnonzero(np.any(coefficients[tree.number] != 0, axis=0))
    values = np.einsum("km,kbL->mbL", coefficients[tree.number][:, used], coupling)
    for monomial, value in zip(monomials[used].tolist(), values, strict=True):
        for b, contribution in enumerate(value):
            grown = tuple(sorted([*monomial, tree.last * tree.last + b]))
            if grown in position:  # the others cancel in the sum over the tree
                polynomial[:, position[grown]] += contribution
    return polynomial


@cache
def factorise(lmax: int, lmax_out: int, correlation: int) -> Factorisation:
    """The bilinear steps for all couplings of orders 1 … correlation from degrees 0 … lmax to 0 … lmax_out."""
    levels = _needed(lmax, lmax_out, correlation)
    lower = tuple(_lower(lmax, order, levels) for order in range(2, correlation))
    start = {1: 0}  # first row of each order in the stack of values
    for order in range(1, correlation):
        start[order + 1] = start[order] + _rows(levels[order])
    mix, value, tree_of_row, sum_of_row = _weighting(lmax, lmax_out, correlation, levels, start)
    sums = _first_rows(sum_of_row)
    total = np.zeros((sum(2 * k + 1 for _, k, _ in sums), len(value)))
    for row, (key, m) in enumerate(sum_of_row):
        total[sums[key] + m, row] = 1.0
    terms = []
    for (L, k, last), first in sums.items():
        coupling = math.sqrt(2 * L + 1) * coupling_coefficients(k, last, L)
        terms += [
            (L * L + M, first + a, last * last + b, float(coupling[a, b, M]))
            for a, b, M in np.argwhere(coupling).tolist()
        ]
    return Factorisation(
        lower, _array(value), _array(tree_of_row), total, _bilinear(terms, (lmax_out + 1) ** 2), tuple(mix)
    )


Levels = dict[int, dict[tuple[int, int], int]]
"""For each order the values (k, number) that are needed, with the row where each starts within its order."""


def _needed(lmax: int, lmax_out: int, correlation: int) -> Levels:
    wanted: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for order in range(correlation, 2, -1):
        targets = wanted[order]
        for L in range(lmax_out + 1):
            trees, _ = trees_of(lmax, L, order)
            wanted[order - 1] |= {(tree.k, tree.number) for tree in trees}
        for k, number in targets:
            trees, matrix = trees_of(lmax, k, order)
            wanted[order - 1] |= {(trees[t].k, trees[t].number) for t in np.flatnonzero(matrix[number]).tolist()}
    wanted[1] = {(l, 0) for l in range(lmax + 1)}
    levels: Levels = {}
    for order in range(1, max(correlation, 2)):
        row, levels[order] = 0, {}
        for k, number in sorted(wanted[order]):
            levels[order][k, number] = row
            row += 2 * k + 1
    return levels


def _rows(level: dict[tuple[int, int], int]) -> int:
    return sum(2 * k + 1 for k, _ in level)


def _lower(lmax: int, order: int, levels: Levels) -> Bilinear:
    """The needed couplings of one order from those one order lower."""
    terms = []
    for (K, number), first in levels[order].items():
        trees, matrix = trees_of(lmax, K, order)
        for t in np.flatnonzero(matrix[number]).tolist():
            k, lower, last = trees[t]
            coupling = math.sqrt(2 * K + 1) * coupling_coefficients(k, last, K) * matrix[number, t]
            for a, b, M in np.argwhere(coupling).tolist():
                left, right = levels[order - 1][k, lower] + a, last * last + b
                if order == 2:  # both factors are A
                    left, right = min(left, right), max(left, right)
                terms.append((first + M, left, right, float(coupling[a, b, M])))
    return _bilinear(terms, _rows(levels[order]))


def _weighting(
    lmax: int, lmax_out: int, correlation: int, levels: Levels, start: dict[int, int]
) -> tuple[list[Floats], list[int], list[int], list[tuple[tuple[int, int, int], int]]]:
    """Which values are multiplied by which tree weights, and the sums (L, k, last) and component m they belong to."""
    mix, value, tree_of_row, sum_of_row, counted = list[Floats](), list[int](), list[int](), [], 0
    for L in range(lmax_out + 1):
        counts = [len(symmetric_couplings(lmax, L, order).trees) for order in range(1, correlation + 1)]
        columns = np.zeros((1 + sum(counts[1:]), sum(counts)))
        if counts[0]:
            columns[0, 0] = 1.0
        row = 1
        for order in range(2, correlation + 1):
            trees, matrix = trees_of(lmax, L, order)
            first = sum(counts[: order - 1])
            columns[row : row + len(trees), first : first + len(trees)] = matrix.T
            for t, (k, number, last) in enumerate(trees, start=counted + row):
                at = start[order - 1] + levels[order - 1][k, number]
                for m in range(2 * k + 1):
                    value.append(at + m)
                    tree_of_row.append(t)
                    sum_of_row.append(((L, k, last), m))
            row += len(trees)
        counted += row
        mix.append(columns)
    return mix, value, tree_of_row, sum_of_row


def _first_rows(sum_of_row: list[tuple[tuple[int, int, int], int]]) -> dict[tuple[int, int, int], int]:
    first, row = dict[tuple[int, int, int], int](), 0
    for key, _ in sum_of_row:
        if key not in first:
            first[key] = row
            row += 2 * key[1] + 1
    return first


def _bilinear(terms: list[tuple[int, int, int, float]], rows: int) -> Bilinear:
    products = sorted({(left, right) for _, left, right, _ in terms})
    column = {pair: i for i, pair in enumerate(products)}
    matrix = np.zeros((rows, len(products)))
    for row, left, right, coefficient in terms:
        matrix[row, column[left, right]] += coefficient
    pairs = _array(products).reshape(-1, 2)
    return Bilinear(pairs[:, 0].copy(), pairs[:, 1].copy(), matrix)


def _array(values: list[int] | list[tuple[int, int]]) -> Integers:
    return np.array(values, dtype=np.int64)
