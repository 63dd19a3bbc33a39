"""Operations counted from the programs: by hand for tiny ones, and by numbers that count what is done to them."""

from collections.abc import Sequence

import numpy as np
import pytest

from groundstate.equivariant.generator.algebra import Branch, MessageProgram, PolynomialProgram
from groundstate.equivariant.generator.count import (
    Shape,
    Work,
    contraction,
    evaluation,
    interpolation,
    linear,
    linear_rows,
    message,
    traffic,
)


def test_a_message_of_two_paths_by_hand() -> None:
    # A scalar feature with harmonics of degree 0 and 1: paths 0⊗0→0 and 0⊗1→1; B has 1 + 3 entries of one term each.
    program = MessageProgram(0, 1, 1)
    assert (len(program.paths), len(program.couplings)) == (2, 4)
    one = message(program, 1, 1.0, moving=False)
    # A radial function is one product and three multiply-adds; with curvatures, five.
    assert (interpolation(2), interpolation(3)) == (7, 11)
    # Each R h, four multiply-adds, two interpolations; B itself four products.
    assert one.forward == 2 * 7 + 2 + 4 * 2 + 4
    # Bᵀg: 1 product, then 1 product and 2 multiply-adds; gradient of R: 2 products; R and its slope by interpolation
    # and a multiply-add for each path; R h, and a multiply-add for each entry of B; back to the harmonics 4 times 2.
    assert one.backward == (1 + 5) + 2 + 2 * (2 * 7 + 2) + (2 + 4 * 2) + 4 * 2
    assert message(program, 1, 1.0).backward == one.backward + 2 * 2
    many = message(program, 32, 10.0, moving=False)
    assert many.forward == 10 * (32 * (one.forward - 4) + 4)
    assert many.backward == 10 * (32 * (one.backward - 8) + 8)


def test_a_polynomial_of_second_order_by_hand() -> None:
    # Invariants of degrees 0 and 1 up to second order: c₁A₀ + c₂A₀² + c₃(A₁² + A₂² + A₃²), five coefficients.
    program = PolynomialProgram(1, 0, 2)
    assert program.slots == 5
    # A₀(c₁ + c₂A₀): a multiply-add and a product; A_i(c_i A_i): a product, then a multiply-add into the sum.
    assert contraction(program, 1) == Work(2.0 + 1 + 3 * (1 + 2), 5.0 + 8 * 2 + 4)


class _Counting:
    """A number that counts the products and sums it takes part in."""

    operations = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def __mul__(self, other: "_Counting") -> "_Counting":
        _Counting.operations += 1
        return _Counting(self.value * other.value)

    def __add__(self, other: "_Counting") -> "_Counting":
        _Counting.operations += 1
        return _Counting(self.value + other.value)


def _by_horner(
    tree: tuple[Branch, ...], c: Sequence[_Counting], a: Sequence[_Counting], start: int | None
) -> _Counting:
    total = None if start is None else c[start]
    for branch in tree:
        inner = _by_horner(branch.children, c, a, branch.slot) if branch.children else c[branch.slot or 0]
        product = a[branch.factor] * inner
        total = product if total is None else total + product
    assert total is not None
    return total


@pytest.mark.parametrize(("lmax_out", "correlation"), [(0, 2), (0, 3), (1, 3), (2, 3)])
def test_polynomials_cost_what_is_counted(lmax_out: int, correlation: int) -> None:
    program = PolynomialProgram(3, lmax_out, correlation)
    generator = np.random.default_rng(0)
    features, weights = generator.normal(size=program.features), generator.normal(size=program.slots)
    a, c = [_Counting(x) for x in features], [_Counting(x) for x in weights]
    _Counting.operations = 0
    found = [_by_horner(tree, c, a, None).value for tree in program.trees]
    assert contraction(program, 1).forward == _Counting.operations
    direct = [sum(weights[m.slot] * np.prod(features[list(m.factors)]) for m in row) for row in program.outputs]
    np.testing.assert_allclose(found, direct, rtol=1e-12)


def test_linear_maps() -> None:
    assert linear(3, 10) == Work(600.0, 600.0)
    # 16 rows of the first message, 40 of the second; the maps between the layers as one (4 rows), the invariants read
    # out, carried on by element, and the last map.
    assert linear_rows(Shape(hidden_lmax=1)) == 16 + 40 + 4 + 1 + 1 + 1
    assert linear_rows(Shape(hidden_lmax=0)) == 16 + 16 + 1 + 1 + 1 + 1


def test_the_whole_is_near_the_published_estimate() -> None:
    """About 10 million operations for an atom with 42 neighbours, four fifths of it messages and linear maps."""
    parts = evaluation(Shape(), 42.0)
    assert set(parts) == {"message 1", "product 1", "message 2", "product 2", "linear maps"}
    assert sum(work.total for work in parts.values()) == pytest.approx(10.0e6, rel=0.02)
    doubled = evaluation(Shape(), 84.0)
    assert doubled["message 2"].total == pytest.approx(2 * parts["message 2"].total)
    assert doubled["linear maps"] == parts["linear maps"]


def test_traffic_by_hand() -> None:
    found = traffic(Shape(channels=32, lmax=1, hidden_lmax=0, layers=1), 5.0, 8)
    # One layer, paths 0⊗0→0 and 0⊗1→1: four numbers each, twice; one feature read twice; density 4 rows, feature 1.
    assert found == {"tables": 5 * 16 * 256.0, "gathers": 5 * 2 * 256.0, "nodes": (2 * 4 + 2 * 1) * 256.0}
