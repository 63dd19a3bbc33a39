from collections import Counter
from itertools import combinations_with_replacement, permutations
from types import ModuleType

import numpy as np
import pytest
from torch import Tensor

from groundstate.equivariant import (
    CouplingTree,
    SymmetricCouplings,
    dimension,
    rotation_matrix,
    symmetric_couplings,
    wigner_D,
)

# B of A = cos(0, 1, …, 15), lmax 3, order 3; dimensionless.
GOLDEN_SCALARS = [
    1,
    1.44518991462,
    1.56405015439,
    2.39969255662,
    0.317472003113,
    -1.52606001556,
    -0.0914981471058,
    -0.506065424272,
]
GOLDEN_VECTORS = [
    -0.720787464309,
    -1.41473343856,
    2.29840482279,
    -0.465851121024,
    0.615641577074,
    -0.744184291878,
    0.253363948074,
    -1.57204423147,
    -0.0829295591873,
    -0.0431573488665,
    1.38323681051,
    -0.0653839673379,
]


def evaluate(couplings: SymmetricCouplings, features: np.ndarray) -> np.ndarray:
    """B[sample, coupling, M] of features [sample, irrep]."""
    factors = features[:, couplings.monomials].prod(axis=2)
    return np.einsum("sm,cMm->scM", factors, couplings.coefficients)


def dense(couplings: SymmetricCouplings, lmax: int) -> np.ndarray:
    """The symmetric tensor [coupling, 2L+1, irrep, …, irrep] of each polynomial."""
    shape = (*couplings.coefficients.shape[:2], *(dimension(lmax),) * couplings.order)
    tensor = np.zeros(shape)
    for monomial, column in zip(couplings.monomials, np.moveaxis(couplings.coefficients, 2, 0), strict=True):
        orderings = set(permutations(monomial.tolist()))
        for ordering in orderings:
            tensor[(slice(None), slice(None), *ordering)] = column / len(orderings)
    return tensor


def expected_count(lmax: int, L: int, order: int) -> int:
    """Multiplicity of L with natural parity in the symmetric power, by counting weights: N(M=L) − N(M=L+1)."""
    states = [(l, m) for l in range(lmax + 1) for m in range(-l, l + 1)]
    weights: Counter[int] = Counter()
    for chosen in combinations_with_replacement(states, order):
        if (sum(l for l, _ in chosen) + L) % 2 == 0:
            weights[sum(m for _, m in chosen)] += 1
    return weights[L] - weights[L + 1]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_couplings_are_complete(lmax: int, order: int) -> None:
    for L in range(5):
        assert len(symmetric_couplings(lmax, L, order).trees) == expected_count(lmax, L, order)


@pytest.mark.parametrize(("L", "couplings", "monomials"), [(0, (1, 4, 8), (1, 16, 77)), (1, (1, 3, 12), (3, 35, 278))])
def test_sizes_at_degree_three(L: int, couplings: tuple[int, ...], monomials: tuple[int, ...]) -> None:
    table = [symmetric_couplings(3, L, order) for order in (1, 2, 3)]
    assert tuple(len(entry.trees) for entry in table) == couplings
    assert tuple(len(entry.monomials) for entry in table) == monomials
    # Every monomial feeds one component only, which is what makes the sparse form cheap.
    assert all(((entry.coefficients != 0).any(axis=0).sum(axis=0) == 1).all() for entry in table)


@pytest.mark.parametrize(("L", "order"), [(0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3)])
def test_couplings_are_orthonormal_symmetric_tensors(L: int, order: int) -> None:
    tensor = dense(symmetric_couplings(2, L, order), 2)
    for axes in permutations(range(2, 2 + order)):
        np.testing.assert_array_equal(tensor.transpose(0, 1, *axes), tensor)
    flat = tensor.reshape(tensor.shape[0] * (2 * L + 1), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("L", [0, 1, 2, 3])
def test_couplings_turn_with_the_frame(frame: Tensor, L: int, order: int) -> None:
    couplings = symmetric_couplings(3, L, order)
    features = np.random.default_rng(5).normal(size=(4, 16))
    features /= np.linalg.norm(features, axis=1, keepdims=True) / 3
    turned = evaluate(couplings, features @ rotation_matrix(3, frame).numpy().T)
    expected = evaluate(couplings, features) @ wigner_D(L, frame).numpy().T
    np.testing.assert_allclose(turned, expected, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("formula", "irreps", "lmax", "order"),
    [("ij=ji", "0e+1o+2e+3o", 3, 2), ("ijk=jik=kij", "0e+1o+2e", 2, 3)],
)
def test_span_equals_e3nn(o3: ModuleType, formula: str, irreps: str, lmax: int, order: int) -> None:
    """Their reduced tensor product, cut to natural parity, and ours project on the same subspace."""
    theirs = o3.ReducedTensorProducts(formula, i=irreps)
    blocks = theirs.change_of_basis.double().numpy()
    slices = list(zip(theirs.irreps_out, theirs.irreps_out.slices(), strict=True))
    for L in range(3):
        natural = [blocks[rows] for (_, ir), rows in slices if ir.l == L and ir.p == (-1) ** L]
        reference = np.concatenate(natural).reshape(-1, dimension(lmax) ** order)
        ours = dense(symmetric_couplings(lmax, L, order), lmax).reshape(-1, dimension(lmax) ** order)
        assert reference.shape == ours.shape
        projected = ours @ np.linalg.pinv(reference) @ reference
        np.testing.assert_allclose(projected, ours, rtol=0, atol=2e-6)  # theirs is kept in float32


def test_second_moment_equals_gaussian_quadrature() -> None:
    """Gauss–Hermite nodes integrate the square of a polynomial exactly."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(*(nodes,) * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    weight = np.prod(np.stack(np.meshgrid(*(weights,) * 4, indexing="ij"), axis=-1).reshape(-1, 4), axis=1)
    for L in (0, 1):
        for order in (1, 2, 3):
            couplings = symmetric_couplings(1, L, order)
            moments = np.einsum("s,scM->cM", weight, evaluate(couplings, grid) ** 2)
            expected = np.broadcast_to(couplings.second_moments()[:, None], moments.shape)
            np.testing.assert_allclose(moments, expected, rtol=1e-12)


def test_meaning_of_a_coupling_never_changes() -> None:
    """Weights in model files are attached to these trees, in this order, with these signs."""
    cubic = symmetric_couplings(3, 0, 3)
    assert cubic.trees[:4] == (
        CouplingTree((0, 0, 0), (0, 0)),
        CouplingTree((0, 1, 1), (1, 0)),
        CouplingTree((0, 2, 2), (2, 0)),
        CouplingTree((0, 3, 3), (3, 0)),
    )
    assert [tree.degrees for tree in cubic.trees[4:]] == [(1, 1, 2), (1, 2, 3), (2, 2, 2), (2, 3, 3)]
    features = np.cos(np.arange(16.0))[None]
    np.testing.assert_allclose(evaluate(cubic, features)[0, :, 0], GOLDEN_SCALARS, rtol=1e-10)
    vectors = evaluate(symmetric_couplings(3, 1, 3), features)[0, :, 1]
    np.testing.assert_allclose(vectors, GOLDEN_VECTORS, rtol=1e-10)


def test_recomputed_couplings_are_identical() -> None:
    first = symmetric_couplings(2, 1, 3)
    again = symmetric_couplings.__wrapped__(2, 1, 3)
    assert again is not first
    assert np.array_equal(again.coefficients, first.coefficients)
    assert np.array_equal(again.monomials, first.monomials)


def test_degree_out_of_reach_has_no_couplings() -> None:
    empty = symmetric_couplings(1, 3, 2)
    assert empty.coefficients.shape == (0, 7, 0)
    assert empty.monomials.shape == (0, 2)


def test_order_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="EQUIVARIANT_ORDER"):
        symmetric_couplings(2, 0, 0)
