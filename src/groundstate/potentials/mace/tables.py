"""Radial functions on knots: what the network gives on a grid of the coordinate is all that is ever used of it.

A table keeps the value and the slope of every radial function on evenly spaced knots (and the curvature, for a smoother
function), made from the network's weights in each step of training; between knots a function is the Hermite polynomial
of its ends. So a trained function and the tabulated one are the same, no network is evaluated per pair of atoms, and
what a pair costs does not depend on the width of the network.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from groundstate.equivariant import Constant
from groundstate.potentials.mace.radial import SILU_SCALE, RadialFunctions, RadialNetwork

_FIRST = 1e-3
"""Where the first knot is evaluated: the limit at 0 of the basis exists, its formula does not."""


class RadialTables(nn.Module):
    """Tables of radial networks, for one set of `RadialFunctions`.

    intervals   of [0, 1] in the coordinate
    kept        numbers on each knot: 2 joins cubics with one continuous derivative, 3 quintics with two
    Checked: tests/potentials/test_mace_tables.py
    """

    def __init__(self, functions: RadialFunctions, intervals: int, kept: int) -> None:
        super().__init__()
        self.intervals, self.kept = intervals, kept
        self._functions = [functions]  # in a list: its parameters and buffers belong to the trunk
        self._jets: dict[tuple[int, ...], list[tuple[Constant, Constant]]] = {}

    def forward(
        self, network: RadialNetwork, tables: Sequence[int] | None = None
    ) -> Float[Tensor, "kept table knot path channel"]:
        """Value and derivatives by the coordinate of every weight on every knot; of all tables, or of those named."""
        chosen = tuple(range(self._functions[0].n_tables) if tables is None else tables)
        jets = self._jets_of(chosen)
        basis = [jet.like(network.last) for jet, _ in jets]
        strength = [jet.like(network.last) for _, jet in jets]
        hidden = _hidden(network, basis)
        faded = [_leibniz(n, hidden, strength) for n in range(self.kept)]
        paths, rank, _ = network.last.shape
        rows = torch.stack(faded).flatten(0, 1) / rank**0.5  # [kept · table · knot, rank]
        values = rows @ network.last.transpose(0, 1).flatten(1)
        return values.view(self.kept, len(chosen), self.intervals + 1, paths, -1)

    def _jets_of(self, tables: tuple[int, ...]) -> list[tuple[Constant, Constant]]:
        if tables not in self._jets:
            x = (torch.arange(self.intervals + 1, dtype=torch.float64) / self.intervals).clamp_min(_FIRST)
            x = x.repeat(len(tables))
            table = torch.tensor(tables).repeat_interleave(self.intervals + 1)
            with torch.inference_mode(False):
                self._jets[tables] = [
                    (Constant(basis.numpy()), Constant(strength.numpy()))
                    for basis, strength in _derivatives(self._functions[0], x, table, self.kept)
                ]
        return self._jets[tables]


def _derivatives(functions: RadialFunctions, x: Tensor, table: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """Basis and strength at x, and their derivatives."""

    with torch.enable_grad():
        x = x.clone().requires_grad_()
        found = [functions.basis(x, table)]
        for _ in range(count - 1):
            basis, strength = found[-1]
            found.append((_slopes(basis, x), _slopes(strength, x)))
    return [(basis.detach(), strength.detach()) for basis, strength in found]


def _slopes(values: Tensor, x: Tensor) -> Tensor:
    """Derivative of each column by the coordinate of its row."""
    columns = [
        torch.autograd.grad(column.sum(), x, create_graph=True, materialize_grads=True)[0]
        if column.requires_grad
        else torch.zeros_like(x)
        for column in values.unbind(1)
    ]
    return torch.stack(columns, dim=1)


def _hidden(network: RadialNetwork, jets: list[Tensor]) -> list[Tensor]:
    """The last hidden layer and its derivatives, from those of the basis."""
    for weight in network.hidden:
        z = [jet @ (weight / len(weight) ** 0.5) for jet in jets]
        gate = torch.sigmoid(z[0])
        slope = gate * (1.0 + z[0] * (1.0 - gate))
        jets = [z[0] * gate, slope * z[1]]
        if len(z) > 2:
            curvature = gate * (1.0 - gate) * (2.0 + z[0] * (1.0 - 2.0 * gate))
            jets.append(curvature * z[1] ** 2 + slope * z[2])
        jets = [jet * SILU_SCALE for jet in jets]
    return jets


def _leibniz(n: int, u: list[Tensor], v: list[Tensor]) -> Tensor:
    """The n-th derivative of a product, n ≤ 2."""
    if n == 0:
        return u[0] * v[0]
    if n == 1:
        return u[1] * v[0] + u[0] * v[1]
    return u[2] * v[0] + 2.0 * u[1] * v[1] + u[0] * v[2]
