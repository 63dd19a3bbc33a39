"""The bilinear steps give the couplings they stand for."""

import numpy as np
import pytest

from groundstate.equivariant import degree_slice, factorise
from groundstate.equivariant.factorisation import Bilinear, normalised_couplings, trees_of


def apply(step: Bilinear, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return step.matrix @ (x[step.left] * y[step.right])


@pytest.mark.parametrize(
    ("lmax", "lmax_out", "correlation"), [(1, 2, 3), (2, 2, 4), (3, 1, 3), (3, 2, 3), (4, 1, 3), (3, 0, 4)]
)
def test_equals_the_sum_over_monomials(lmax: int, lmax_out: int, correlation: int) -> None:
    generator = np.random.default_rng(0)
    a = generator.normal(size=(lmax + 1) ** 2)
    steps = factorise(lmax, lmax_out, correlation)
    weights = [generator.normal(size=mix.shape[1]) for mix in steps.mix]
    of_trees = np.concatenate([mix @ weight for mix, weight in zip(steps.mix, weights, strict=True)])
    values = [a]
    for step in steps.lower:
        values.append(apply(step, values[-1], a))
    found = apply(steps.last, steps.total @ (np.concatenate(values)[steps.value] * of_trees[steps.tree]), a)
    for L, weight in enumerate(weights):
        expected, used = np.zeros(2 * L + 1), 0
        for order in range(1, correlation + 1):
            monomials, coefficients = normalised_couplings(lmax, L, order)
            share = weight[used : used + len(coefficients)]
            used += len(coefficients)
            if order > 1:  # the linear term is added outside the steps
                expected += np.einsum("n,nMm,m->M", share, coefficients, a[monomials].prod(axis=1))
        np.testing.assert_allclose(found[degree_slice(L)], expected, rtol=0, atol=1e-9)


def test_there_are_as_many_trees_as_couplings() -> None:
    for L in range(3):
        trees, matrix = trees_of(3, L, 3)
        assert matrix.shape == (len(trees), len(trees))
        assert np.linalg.cond(matrix) < 1e3
        assert all((tree.k + tree.last + L) % 2 == 0 for tree in trees)


def test_products_are_few() -> None:
    """The point of it: far fewer products than the 355 cubic monomials."""
    steps = factorise(3, 1, 3)
    assert sum(len(step.left) for step in (*steps.lower, steps.last)) < 200


def test_order_one_has_no_products() -> None:
    steps = factorise(2, 1, 1)
    assert steps.lower == ()
    assert steps.last.matrix.shape == (4, 0)
    assert [mix.shape for mix in steps.mix] == [(1, 1), (1, 1)]
