"""Radial functions on knots."""

import pytest
import torch

from groundstate.equivariant.operators.reference import interpolate
from groundstate.potentials.mace import MACEConfig, RadialFunctions, RadialNetwork
from groundstate.potentials.mace.tables import RadialTables

ELEMENTS = (1, 8, 14)


def made(intervals: int, kept: int, **overrides: object) -> tuple[RadialFunctions, RadialNetwork, RadialTables]:
    config = MACEConfig(radial_basis=6, dtype="float64", cutoff=4.0, **overrides)  # type: ignore[arg-type]
    functions = RadialFunctions(config, ELEMENTS)
    generator = torch.Generator().manual_seed(0)
    network = RadialNetwork(6, (8, 5), 3, 4, dtype=torch.float64, generator=generator)
    return functions, network, RadialTables(functions, intervals, kept)


KINDS = [
    {},
    {"distance_transform": "linear", "envelope": "polynomial", "envelope_at": "basis"},
    {"distance_transform": "agnesi", "envelope": "polynomial", "envelope_at": "basis"},
]


@pytest.mark.parametrize("kept", [2, 3])
@pytest.mark.parametrize("kind", KINDS, ids=["own", "linear", "agnesi"])
def test_what_is_kept_are_the_network_and_its_derivatives(kind: dict[str, object], kept: int) -> None:
    functions, network, tables = made(8, kept, **kind)
    table = tables(network)
    for number in range(functions.n_tables):
        for knot in (1, 3, 7):
            x = torch.tensor([knot / 8], dtype=torch.float64)

            def weights(x: torch.Tensor, number: int = number) -> torch.Tensor:
                return network(*functions.basis(x, torch.full((1,), number)))[:, 0]

            value, slope = torch.autograd.functional.jvp(weights, x, torch.ones(1, dtype=torch.float64))
            torch.testing.assert_close(table[0, number, knot], value)
            torch.testing.assert_close(table[1, number, knot], slope)
            if kept == 3:
                step = torch.tensor([1e-4], dtype=torch.float64)
                curvature = (weights(x + step) - 2 * value + weights(x - step)) / step**2
                torch.testing.assert_close(table[2, number, knot], curvature, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kept", "order"), [(2, 4), (3, 6)])
def test_interpolation_converges_with_its_order(kept: int, order: int) -> None:
    x = torch.linspace(0.15, 0.98, 41, dtype=torch.float64)
    which = torch.zeros(41, dtype=torch.int64)
    errors = []
    for intervals in (32, 64):
        functions, network, tables = made(intervals, kept)
        with torch.no_grad():
            exact = network(*functions.basis(x, which))
            errors.append(float((interpolate(tables(network), x, which) - exact).abs().max()))
    assert errors[1] < errors[0] / 2 ** (order - 2)


def test_nothing_from_the_cutoff_on() -> None:
    _, network, tables = made(16, 2)
    x = torch.tensor([1.0, 1.7], dtype=torch.float64, requires_grad=True)
    values = interpolate(tables(network), x, torch.zeros(2, dtype=torch.int64))
    assert not bool(values.any())
    assert not bool(torch.autograd.grad(values.sum(), x)[0].any())


def test_of_a_coordinate_that_is_no_number_neither_is_the_function() -> None:
    _, network, tables = made(16, 2)
    values = interpolate(tables(network), torch.tensor([torch.nan, 0.5], dtype=torch.float64))
    assert bool(values[:, 0].isnan().all())
    assert bool(values[:, 1].isfinite().all())


def test_only_the_tables_asked_for_are_made() -> None:
    functions, network, tables = made(8, 2, **KINDS[2])
    assert functions.n_tables == 6
    torch.testing.assert_close(tables(network, [4, 1]), tables(network)[:, [4, 1]], rtol=1e-14, atol=1e-14)
