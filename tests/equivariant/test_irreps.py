import numpy as np
import pytest

from groundstate.equivariant import IrrepLayout, degree_slice, dimension


def test_degrees_tile_the_irrep_axis() -> None:
    positions = [i for l in range(5) for i in range(dimension(4))[degree_slice(l)]]
    assert positions == list(range(25))


def test_layout_orders_by_degree_then_component_then_copy() -> None:
    layout = IrrepLayout((2, 0, 3))
    expected = [("0", 0, 0), ("0", 0, 1)] + [("2", m, copy) for m in range(5) for copy in range(2, 5)]
    assert layout.rows == len(expected)
    assert layout.copy_of_row().tolist() == [copy for _, _, copy in expected]
    assert layout.rows_of(1) == slice(2, 2)
    assert layout.rows_of(2) == slice(2, 17)


def test_plain_layout_is_the_irrep_axis() -> None:
    layout = IrrepLayout.plain(3)
    assert layout.rows == dimension(3)
    assert all(layout.rows_of(l) == degree_slice(l) for l in range(4))
    assert np.array_equal(np.unique(layout.copy_of_row()), np.arange(4))


@pytest.mark.parametrize("copies", [(), (1, -1)])
def test_impossible_layout_is_refused(copies: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="EQUIVARIANT_LAYOUT"):
        IrrepLayout(copies)
