"""The message on receiver-sorted edges, and its derivatives.

h[atom, irrep, channel]; table[table, knot, block of channels, path, (value, slope, …), 16]; for each edge `which` of
the tables, x in [0, 1] and harmonics Y; edges of atom i are ptr[i] … ptr[i+1], `senders` at their other end. Slopes are
by x. From x = 1 on an edge contributes nothing. Without `which` all edges use the first table.

Every sum runs in an order that the input fixes, so that results repeat to the last bit; nothing is added atomically.
"""

from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.equivariant.generator.algebra import CHANNEL_BLOCK, MessageProgram
from groundstate.equivariant.generator.triton import emit_message
from groundstate.equivariant.generator.triton.groups import feature_groups, path_groups
from groundstate.equivariant.triton_kernels.launch import channel_block, contiguous, launch, load, pieces

Features = Float[Tensor, "atom irrep channel"]
Rows = Float[Tensor, "atom row channel"]
Table = Float[Tensor, "table knot block path value 16"]
Coordinates = Float[Tensor, " edge"]
Harmonics = Float[Tensor, "edge irrep_harmonic"]
Edges = Int[Tensor, " edge"]
Pointer = Int[Tensor, " atom_and_one"]


class MessageGradients(NamedTuple):
    """By features, coordinates, harmonics and table; None for what was not asked for."""

    h: Features | None
    x: Coordinates | None
    Y: Harmonics | None
    table: Table | None


@cache
def _kernels(program: MessageProgram, depth: int) -> ModuleType:
    return load(emit_message(program, depth))


def message_forward(
    program: MessageProgram,
    h: Features,
    table: Table,
    which: Edges | None,
    x: Coordinates,
    Y: Harmonics,
    ptr: Pointer,
    senders: Edges,
) -> Rows:
    """M[i, row] = Σ_edges R[path](x) Σ_a B[path, m, a](Y) h[sender, a]."""
    return _Call(program, h, table, which, x, Y, ptr, senders).by_receiver(None)


def message_tangent(
    program: MessageProgram,
    h: Features,
    table: Table,
    which: Edges | None,
    x: Coordinates,
    Y: Harmonics,
    ptr: Pointer,
    senders: Edges,
    vh: Features,
    vx: Coordinates,
    vY: Harmonics,
    vtable: Table | None = None,
) -> Rows:
    """Change of M along (vh, vx, vY, vtable): also the gradient of <vh, gh> + <vx, gx> + … by the cotangent G."""
    return _Call(program, h, table, which, x, Y, ptr, senders).by_receiver(_direction(vh, vx, vY, vtable))


def message_backward(
    program: MessageProgram,
    h: Features,
    table: Table,
    which: Edges | None,
    x: Coordinates,
    Y: Harmonics,
    ptr: Pointer,
    senders: Edges,
    G: Rows,
    reverse: Edges | None = None,
    *,
    features: bool = True,
    geometry: bool = True,
    parameters: bool = False,
) -> MessageGradients:
    """Gradients of <G, M> by h, by x and Y (`geometry`) and by the table (`parameters`).

    `reverse` is the number of the edge that leads back, for each edge of a list that holds both; without it the edges
    are sorted by sender.
    """
    call = _Call(program, h, table, which, x, Y, ptr, senders)
    return call.gradients(G, None, reverse, features=features, geometry=geometry, parameters=parameters)


def message_second(
    program: MessageProgram,
    h: Features,
    table: Table,
    which: Edges | None,
    x: Coordinates,
    Y: Harmonics,
    ptr: Pointer,
    senders: Edges,
    G: Rows,
    vh: Features,
    vx: Coordinates,
    vY: Harmonics,
    vtable: Table | None = None,
    reverse: Edges | None = None,
    *,
    features: bool = True,
    geometry: bool = False,
    parameters: bool = True,
) -> MessageGradients:
    """Gradients of ψ = <vh, gh> + <vx, gx> + <vY, gY> + <vtable, gtable> = <G, dM> by h, by the table, by x and Y.

    The gradient by G is `message_tangent`. Training on forces needs no gradient by x and Y; that is the default.
    """
    call = _Call(program, h, table, which, x, Y, ptr, senders)
    direction = _direction(vh, vx, vY, vtable)
    return call.gradients(G, direction, reverse, features=features, geometry=geometry, parameters=parameters)


class _Direction(NamedTuple):
    h: Tensor
    x: Tensor
    Y: Tensor
    table: Tensor | None


def _direction(vh: Tensor, vx: Tensor, vY: Tensor, vtable: Tensor | None) -> _Direction:
    return _Direction(*contiguous(vh=vh, vx=vx, vY=vY, vtable=vtable))


class _Call:
    """The tensors of one call, checked against the program."""

    def __init__(
        self,
        program: MessageProgram,
        h: Features,
        table: Table,
        which: Edges | None,
        x: Coordinates,
        Y: Harmonics,
        ptr: Pointer,
        senders: Edges,
    ) -> None:
        self.h, self.table, self.which, self.x, self.Y, self.ptr, self.senders = contiguous(
            h=h,
            table=table,
            which=senders.new_zeros(len(x), dtype=torch.int32) if which is None else which,
            x=x,
            Y=Y,
            ptr=ptr,
            senders=senders,
        )
        self.program, self.channels = program, h.shape[2]
        expected = (program.features, program.harmonics, self.channels // CHANNEL_BLOCK, len(program.paths))
        found = (h.shape[1], Y.shape[1], table.shape[2], table.shape[3])
        if found != expected or len(ptr) != len(h) + 1:
            raise ValueError(
                f"EQUIVARIANT_SHAPE: components, harmonics, blocks of channels and paths are {found}, the program has "
                f"{expected}; ptr has {len(ptr)} entries for {len(h)} atoms. A kernel would read foreign memory. "
                "Give tensors laid out for this program."
            )
        self.kernels = _kernels(program, table.shape[4])
        self.block = channel_block(self.channels)
        self.sizes = {"K": self.channels, "KN": table.shape[1] - 1, "BK": self.block}

    @property
    def edge(self) -> tuple[Tensor, ...]:
        return self.h, self.table, self.which, self.x, self.Y

    def grid(self, count: int, groups: int) -> tuple[int, int, int]:
        return count, self.channels // self.block, groups

    def tangent(self, direction: _Direction | None) -> tuple[tuple[Tensor, ...], dict[str, bool]]:
        """vh, vx, vY, vtable for a kernel, which reads the last only where it is told that there is one."""
        if direction is None:
            return (), {}
        table = self.table if direction.table is None else direction.table
        return (direction.h, direction.x, direction.Y, table), {"VT": direction.table is not None}

    def by_receiver(self, direction: _Direction | None) -> Rows:
        out = self.h.new_empty(len(self.h), self.program.rows, self.channels)
        kernel = self.kernels.message_forward if direction is None else self.kernels.message_tangent
        given, flags = self.tangent(direction)
        grid = self.grid(len(self.h), len(path_groups(self.program)))
        launch(kernel, grid, *self.edge, self.ptr, self.senders, *given, out, **self.sizes, **flags)
        return out

    def gradients(
        self,
        G: Rows,
        direction: _Direction | None,
        reverse: Edges | None,
        *,
        features: bool,
        geometry: bool,
        parameters: bool,
    ) -> MessageGradients:
        (G,) = contiguous(G=G)
        by_x, by_Y = self._by_geometry(G, direction) if geometry else (None, None)
        by_h = self._by_features(G, direction, reverse) if features else None
        return MessageGradients(by_h, by_x, by_Y, self._by_table(G, direction) if parameters else None)

    def _receivers(self) -> Tensor:
        atoms = torch.arange(len(self.h), device=self.h.device)
        return torch.repeat_interleave(atoms, self.ptr.diff(), output_size=len(self.x))

    def _by_features(self, G: Rows, direction: _Direction | None, reverse: Edges | None) -> Features:
        if reverse is None:
            ordered, edges = torch.sort(self.senders, stable=True)
            ptr = torch.searchsorted(ordered, torch.arange(len(self.h) + 1, device=ordered.device))
            receivers = self._receivers()[edges]
        else:  # an edge that leaves an atom is the reverse of one that arrives there, from its receiver
            ptr, edges, receivers = self.ptr, reverse.contiguous(), self.senders
        kernel = self.kernels.message_features if direction is None else self.kernels.message_features_second
        given, flags = self.tangent(direction)
        grid, out = self.grid(len(self.h), len(feature_groups(self.program))), torch.empty_like(self.h)
        tensors = (*self.edge[1:], ptr, edges, receivers, G, *given[1:], out)
        launch(kernel, grid, *tensors, **self.sizes, **flags)
        return out

    def _by_geometry(self, G: Rows, direction: _Direction | None) -> tuple[Coordinates, Harmonics]:
        kernel = self.kernels.message_geometry if direction is None else self.kernels.message_geometry_second
        given, flags = self.tangent(direction)
        grid = self.grid(len(self.h), len(path_groups(self.program)))
        # A group of paths writes the harmonics that it knows; the others stay zero.
        parts = self.h.new_zeros(grid[1] * grid[2], len(self.x), self.program.harmonics + 1)
        tensors = (*self.edge, self.ptr, self.senders, G, *given, parts, len(self.x))
        launch(kernel, grid, *tensors, **self.sizes, **flags)
        summed = parts.sum(0)
        return summed[:, -1].contiguous(), summed[:, :-1].contiguous()

    def _by_table(self, G: Rows, direction: _Direction | None) -> Table:
        tables, intervals, depth = len(self.table), self.table.shape[1] - 1, self.table.shape[4]
        knot = (self.x * intervals).nan_to_num().long().clamp(0, intervals - 1)
        cut = pieces(self.which * intervals + knot, tables * intervals)
        parts = self.h.new_empty(len(cut.segment), len(self.program.paths), 2 * depth, self.channels)
        kernel = self.kernels.message_table if direction is None else self.kernels.message_table_second
        given = () if direction is None else tuple(direction[:3])
        grid = self.grid(len(parts), len(path_groups(self.program)))
        tensors = (self.h, self.x, self.Y, self.senders, self._receivers(), *cut[:4], G, *given, parts)
        launch(kernel, grid, *tensors, **self.sizes)
        out = torch.empty_like(self.table)
        grid = self.grid(tables * (intervals + 1), len(self.program.paths))
        launch(self.kernels.table_sum, grid, parts, cut.first, out, **self.sizes)
        return out
