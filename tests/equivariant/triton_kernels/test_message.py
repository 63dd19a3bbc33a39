"""The kernels of the message against `TensorProduct` and autograd in float64, and on what must not depend on order."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from groundstate.equivariant import TensorProduct
from groundstate.equivariant.generator.algebra import MessageProgram
from groundstate.equivariant.triton_kernels import (
    message_backward,
    message_forward,
    message_second,
    message_tangent,
)

SPECIFICATIONS = {
    "first layer": (MessageProgram(0, 3, 3), 2, 32),
    "medium": (MessageProgram(1, 3, 3), 2, 32),
    "medium, quintic": (MessageProgram(1, 3, 3), 3, 32),
    "scalars out, three blocks of channels": (MessageProgram(1, 2, 0), 2, 96),
}
LARGE = {"large": (MessageProgram(2, 3, 3), 2, 32), "lmax 4": (MessageProgram(1, 4, 4), 2, 32)}


class Graph(NamedTuple):
    """A symmetric list: receiver-sorted, several edges between a pair, an atom that sees itself, one without edges."""

    ptr: Tensor
    senders: Tensor
    receivers: Tensor
    reverse: Tensor
    which: Tensor


class Values(NamedTuple):
    h: Tensor
    x: Tensor
    Y: Tensor
    table: Tensor

    def to(self, dtype: torch.dtype, device: torch.device) -> "Values":
        return Values(*(value.detach().to(device=device, dtype=dtype) for value in self))


def graph_of(pairs: list[tuple[int, int]], atoms: int, tables: int) -> Graph:
    edges = [(i, j, n) for n, (i, j) in enumerate(pairs)] + [(j, i, n) for n, (i, j) in enumerate(pairs)]
    order = sorted(range(len(edges)), key=lambda e: edges[e])
    place = {e: n for n, e in enumerate(order)}
    receivers = torch.tensor([edges[e][0] for e in order])
    return Graph(
        ptr=torch.searchsorted(receivers, torch.arange(atoms + 1)),
        senders=torch.tensor([edges[e][1] for e in order]),
        receivers=receivers,
        reverse=torch.tensor([place[(e + len(pairs)) % len(edges)] for e in order]),
        which=torch.tensor([edges[e][2] % tables for e in order], dtype=torch.int32),
    )


GRAPH = graph_of([(0, 1), (0, 1), (0, 2), (2, 2), (3, 1), (3, 4)], atoms=6, tables=2)


def random_values(program: MessageProgram, depth: int, channels: int, seed: int, knots: int = 4) -> Values:
    generator = torch.Generator().manual_seed(seed)
    edges, atoms = len(GRAPH.senders), len(GRAPH.ptr) - 1
    shape = (2, knots + 1, channels // 16, len(program.paths), depth, 16)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, dtype=torch.float64, generator=generator)

    x = torch.rand(edges, dtype=torch.float64, generator=generator)
    x[0], x[1], x[2] = 0.0, 1.0, 1.5  # the first knot, the end of the table, beyond it
    return Values(normal(atoms, program.features, channels), x, normal(edges, program.harmonics), normal(*shape))


def hermite(table: Tensor, which: Tensor, x: Tensor) -> Tensor:
    """R[edge, path, channel]: the polynomial with the values and derivatives that the table gives at both knots."""
    tables, knots, _, paths, depth, _ = table.shape
    intervals = knots - 1
    # Row (side, n): n-th derivative of t^m at t = side.
    conditions = np.array(
        [
            [np.prod([m - s for s in range(n)], initial=1.0) * (float(side) ** (m - n) if m >= n else 0.0)]
            for side in (0, 1)
            for n in range(depth)
            for m in range(2 * depth)
        ]
    ).reshape(2 * depth, 2 * depth)
    solved = torch.from_numpy(np.linalg.inv(conditions))
    values = table.permute(0, 1, 4, 3, 2, 5).reshape(tables, knots, depth, paths, -1)
    scaled = values * (1.0 / intervals) ** torch.arange(depth, dtype=x.dtype)[:, None, None]
    knot = (x.detach() * intervals).floor().clamp(0, intervals - 1).long()
    t = torch.where(x < 1, x, x.detach()) * intervals - knot
    ends = torch.cat([scaled[which.long(), knot], scaled[which.long(), knot + 1]], dim=1)
    powers = torch.stack([t**m for m in range(2 * depth)], dim=1)
    return torch.einsum("em,mn,enpk->epk", powers, solved, ends) * (x < 1)[:, None, None]


def reference(program: MessageProgram, values: Values) -> Tensor:
    product = TensorProduct(program.lmax_features, program.lmax_harmonics, program.lmax_out)
    radial = hermite(values.table, GRAPH.which, values.x)
    messages = product(values.h[GRAPH.senders], values.Y, radial)
    out = messages.new_zeros(len(values.h), program.rows, values.h.shape[2])
    return out.index_add(0, GRAPH.receivers, messages)


def assert_close(found: Tensor | None, expected: Tensor, tolerance: float) -> None:
    assert found is not None
    assert found.shape == expected.shape
    error = (found.double().cpu() - expected.detach()).abs().max() / expected.detach().abs().max()
    assert error < tolerance


class Case:
    """Reference values and derivatives of one program, and the arguments of the kernels."""

    def __init__(self, program: MessageProgram, depth: int, channels: int) -> None:
        self.program = program
        self.values = Values(*(v.requires_grad_() for v in random_values(program, depth, channels, seed=1)))
        self.along = random_values(program, depth, channels, seed=2)
        self.M = reference(program, self.values)
        generator = torch.Generator().manual_seed(3)
        self.G = torch.randn(self.M.shape, dtype=torch.float64, generator=generator).requires_grad_()
        self.first = Values(*torch.autograd.grad((self.G * self.M).sum(), self.values, create_graph=True))

    def second(self, *, with_table: bool) -> tuple[Values, Tensor]:
        given = zip(self.along, self.first, strict=True)
        terms = [(v * g).sum() for n, (v, g) in enumerate(given) if n < 3 or with_table]
        *found, by_G = torch.autograd.grad(torch.stack(terms).sum(), (*self.values, self.G), retain_graph=True)
        return Values(*found), by_G

    def arguments(self, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        given = self.values.to(dtype, device)._asdict()
        return given | {name: getattr(GRAPH, name).to(device) for name in ("which", "ptr", "senders")}


@pytest.fixture(params=list(SPECIFICATIONS), scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*SPECIFICATIONS[request.param])


def check_all(case: Case, dtype: torch.dtype, tolerance: float, device: torch.device) -> None:
    """Forward, gradients, tangent and second gradients, with and without a direction of the table."""
    given = case.arguments(dtype, device)
    G = case.G.detach().to(device=device, dtype=dtype)
    reverse = GRAPH.reverse.to(device)
    assert_close(message_forward(case.program, **given), case.M, tolerance)
    first = message_backward(case.program, **given, G=G, reverse=reverse, parameters=True)
    for found, expected in zip(first, case.first, strict=True):
        assert_close(found, expected, tolerance)
    along = case.along.to(dtype, device)
    for with_table in (False, True):
        direction = {"vh": along.h, "vx": along.x, "vY": along.Y, "vtable": along.table if with_table else None}
        expected_second, by_G = case.second(with_table=with_table)
        assert_close(message_tangent(case.program, **given, **direction), by_G, tolerance)
        second = message_second(case.program, **given, G=G, **direction, reverse=reverse, geometry=True)
        for found, expected in zip(second, expected_second, strict=True):
            assert_close(found, expected, tolerance)


def test_equal_to_tensor_product_and_its_derivatives(
    case: Case, precision: tuple[torch.dtype, float], device: torch.device
) -> None:
    check_all(case, *precision, device)


@pytest.mark.parametrize("name", list(LARGE))
def test_large_programs(name: str, device: torch.device) -> None:
    check_all(Case(*LARGE[name]), torch.float32, 1e-5, device)


def test_without_reverse_edges_are_sorted_by_sender(case: Case, device: torch.device) -> None:
    given = case.arguments(torch.float64, device)
    G = case.G.detach().to(device)
    found = message_backward(case.program, **given, G=G, geometry=False)
    assert found.x is None
    assert found.table is None
    assert_close(found.h, case.first.h, 1e-12)


def test_repeats_to_the_last_bit(case: Case, device: torch.device) -> None:
    given = case.arguments(torch.float32, device)
    G = case.G.detach().to(device=device, dtype=torch.float32)
    one, two = (message_backward(case.program, **given, G=G, parameters=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_pieces_of_a_long_interval_add_up(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr("groundstate.equivariant.triton_kernels.launch.OF_A_PIECE", 2)
    case = Case(MessageProgram(1, 2, 0), 2, 32)
    G = case.G.detach().to(device)
    found = message_backward(case.program, **case.arguments(torch.float64, device), G=G, parameters=True)
    assert_close(found.table, case.first.table, 1e-12)


@pytest.mark.parametrize("bad", [float("nan"), -0.1])
def test_a_bad_coordinate_is_nan(bad: float, device: torch.device) -> None:
    """NaN, or a number left of the table, gives NaN for the atom that it belongs to and for no other."""
    program = MessageProgram(1, 2, 0)
    values = random_values(program, 2, 32, seed=4)
    given = {**values._asdict(), **{name: getattr(GRAPH, name) for name in ("which", "ptr", "senders")}}
    given = {name: tensor.to(device) for name, tensor in given.items()}
    expected = reference(program, values)
    assert_close(message_forward(program, **given), expected, 1e-12)
    given["x"][0] = bad
    found = message_forward(program, **given).cpu()
    receiver = GRAPH.receivers[0]
    assert found[receiver].isnan().all()
    others = torch.arange(len(found)) != receiver
    assert_close(found[others], expected[others], 1e-12)


def test_no_edges(device: torch.device) -> None:
    program = MessageProgram(0, 1, 1)
    h, table = torch.ones(2, 1, 32, device=device), torch.ones(1, 3, 2, len(program.paths), 2, 16, device=device)
    none = torch.zeros(0, dtype=torch.int64, device=device)
    Y, ptr = torch.ones(0, 4, device=device), torch.zeros(3, dtype=torch.int64, device=device)
    given = {"h": h, "table": table, "which": none.int(), "x": none.float(), "Y": Y, "ptr": ptr, "senders": none}
    out = message_forward(program, **given)
    assert not out.any()
    found = message_backward(program, **given, G=torch.ones_like(out), reverse=none, parameters=True)
    assert all(gradient is not None and not gradient.any() for gradient in found)


def test_tensors_of_another_program_are_refused(device: torch.device) -> None:
    given = random_values(MessageProgram(1, 2, 0), 2, 32, seed=5).to(torch.float32, device)._asdict()
    given |= {name: getattr(GRAPH, name).to(device) for name in ("which", "ptr", "senders")}
    with pytest.raises(ValueError, match="EQUIVARIANT_SHAPE"):
        message_forward(MessageProgram(1, 3, 3), **given)
    with pytest.raises(ValueError, match="EQUIVARIANT_MIXED"):
        message_forward(MessageProgram(1, 2, 0), **{**given, "x": given["x"].double()})
