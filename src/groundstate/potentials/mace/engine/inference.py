"""The native engine of a trunk: features of atoms, and their gradients by positions and cell."""

import ctypes
import os
import weakref
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from groundstate.atoms import Edges, Geometry, Graph, System
from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native import Library, Unavailable, find
from groundstate.equivariant.operators.calls import threads_for
from groundstate.potentials.mace.engine.plan import engine_plan
from groundstate.potentials.mace.engine.structures import MOST_LAYERS, Batch, Tape
from groundstate.potentials.mace.engine.weights import Weights

if TYPE_CHECKING:
    from groundstate.potentials.mace.trunk import MACETrunk


class Engine:
    """Two calls over one tape. Weights are packed anew when a parameter or buffer has changed; the tape is kept.

    Features come as float32 or float64, whatever the trunk computes in; positions, measured distances, and the sums of
    gradients over neighbours are float64. Checked: tests/potentials/test_mace_engine.py
    """

    def __init__(self, trunk: "MACETrunk", spec: KernelSpec, library: Library) -> None:
        self._trunk, self.spec, self._library = weakref.ref(trunk), spec, library
        self._weights: tuple[Any, Weights] | None = None
        self._parts = parts_of(trunk)
        self._sorted: _Sorted | None = None
        self._spare: list[_Tape] = []

    def features(
        self,
        system: System,
        geometry: Geometry,
        classes: Int[Tensor, " atom"],
        initial: Float[Tensor, "atom 1 channel"],
    ) -> tuple[Float[Tensor, "atom 1 channel"], ...]:
        """Invariants after each layer, differentiable once in positions and cell.

        Where the geometry is asked for gradients by edge, they flow into the vectors of its edges instead.
        """
        edges: Edges | Graph = geometry.graph
        positions, cell, vectors = system.positions, system.cell, None
        if geometry.by_edge:
            edges = geometry.edges(self.cutoff)
            positions, cell, vectors = positions.detach(), cell.detach(), edges.vectors
        if self._sorted is None or not self._sorted.serves(system, edges, classes):
            self._sorted = _Sorted(system, edges, classes)
        batch = _BatchOnHand(self, self._sorted, initial)
        made = _Features.apply(self, batch, positions, cell, vectors)
        return tuple(features[:, None, :] for features in made)

    @property
    def cutoff(self) -> float:
        """Å"""
        return self.trunk.cutoff

    @property
    def trunk(self) -> "MACETrunk":
        """Whose engine this is."""
        trunk = self._trunk()
        assert trunk is not None
        return trunk

    def weights(self, classes: Tensor) -> Weights:
        """The packed weights of the trunk as it is now; tables for the pairs of the classes present."""
        trunk = self.trunk
        several = trunk.radial_functions.n_tables > 1
        present = torch.unique(classes).tolist() if several else list(range(len(trunk.embedding)))
        if not all(holder.get(name) is part for holder, name, part in self._parts):
            self._parts = parts_of(trunk)
        state = [
            (p.data_ptr(), 0 if p.is_inference() else p._version) for _, _, p in self._parts if isinstance(p, Tensor)
        ]
        key = (state, present)
        if self._weights is None or self._weights[0] != key:
            self._weights = (key, Weights(trunk, self.spec, self._library, present))
        return self._weights[1]

    def forward(self, batch: "_BatchOnHand", positions: Tensor, cell: Tensor) -> tuple["_Tape", tuple[Tensor, ...]]:
        """Features of every layer [atom, channel], and the tape for `backward`."""
        layers, channels = len(self.trunk.layers), self.spec.channels
        features = tuple(torch.empty(batch.integers.atoms, channels, dtype=batch.initial.dtype) for _ in range(layers))
        tape = self._tape(batch.integers.atoms, layers)
        structure = tape.structure(features)
        self._library.engine_forward(
            ctypes.byref(batch.weights.model), ctypes.byref(batch.structure(positions, cell)), ctypes.byref(structure)
        )
        return tape, features

    def backward(
        self,
        batch: "_BatchOnHand",
        positions: Tensor,
        cell: Tensor,
        tape: "_Tape",
        seeds: Sequence[Tensor],
        by_edge: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Gradients by positions and cell, float64; those by edge vectors are added to `by_edge`."""
        to_positions, to_cell = torch.zeros_like(positions), torch.zeros_like(cell)
        kept = [seed.contiguous() for seed in seeds]
        addresses = (ctypes.c_void_p * len(kept))(*(seed.data_ptr() for seed in kept))
        self._library.engine_backward(
            ctypes.byref(batch.weights.model),
            ctypes.byref(batch.structure(positions, cell)),
            ctypes.byref(tape.structure(())),
            addresses,
            *(ctypes.c_void_p(t.data_ptr()) for t in (to_positions, to_cell)),
            ctypes.c_void_p(None if by_edge is None else by_edge.data_ptr()),
        )
        return to_positions, to_cell

    def _tape(self, atoms: int, layers: int) -> "_Tape":
        if self._spare and self._spare[0].atoms >= atoms and self._spare[0].atoms <= 4 * atoms + 64:
            return self._spare.pop()
        self._spare.clear()
        return _Tape(self.spec, atoms, layers)

    def give_back(self, tape: "_Tape") -> None:
        """A tape nobody reads any more."""
        self._spare[:] = [tape]


class _Tape:
    """Memory for what lies between the two calls."""

    def __init__(self, spec: KernelSpec, atoms: int, layers: int) -> None:
        self.atoms, dtype = atoms, getattr(torch, spec.dtype)
        densities, hidden = (spec.lmax + 1) ** 2, (spec.hidden_lmax + 1) ** 2
        self._A = [torch.empty(atoms, densities, spec.channels, dtype=dtype) for _ in range(layers)]
        self._sent = [torch.empty(atoms, hidden, spec.channels, dtype=dtype) for _ in range(layers - 1)]
        self._hidden = [torch.empty(atoms, hidden, spec.channels, dtype=dtype) for _ in range(layers - 1)]

    def structure(self, features: Sequence[Tensor]) -> Tape:
        tape = Tape()
        for t, A in enumerate(self._A):
            tape.A[t] = A.data_ptr()
        for t, (sent, hidden) in enumerate(zip(self._sent, self._hidden, strict=True)):
            tape.sent[t + 1], tape.hidden[t] = sent.data_ptr(), hidden.data_ptr()
        for t, values in enumerate(features):
            tape.features[t] = values.data_ptr()
        return tape


class _Sorted:
    """The integers of a batch in the order the engine wants; the same for all steps between two neighbour lists."""

    def __init__(self, system: System, edges: Edges | Graph, classes: Tensor) -> None:
        self.edges, self.given = edges, classes
        self.atoms, self.systems = system.n_atoms, system.n_systems
        self.order = torch.argsort(classes, stable=True)
        self.rank = torch.empty_like(self.order)
        self.rank[self.order] = torch.arange(self.atoms)
        self.classes = classes[self.order].contiguous()
        self.ptr, self.senders = edges.receiver_ptr.contiguous(), edges.senders.contiguous()
        self.shifts, self.system_of = edges.shifts.contiguous(), system.system_index.contiguous()

    def serves(self, system: System, edges: Edges | Graph, classes: Tensor) -> bool:
        """Whether a batch has these integers."""
        return edges is self.edges and self.systems == system.n_systems and torch.equal(classes, self.given)


class _BatchOnHand:
    """A batch in the order the engine wants, and the weights it is evaluated with."""

    def __init__(self, engine: Engine, integers: _Sorted, initial: Tensor) -> None:
        self.integers, self.weights = integers, engine.weights(integers.given)
        with torch.no_grad():
            if engine.trunk.conditions is None:  # every atom of a class starts alike
                (self.initial, self.sent), self.row = self.weights.initial, integers.classes
            else:
                self.initial, self.row = initial.detach()[:, 0].contiguous(), integers.order
                self.sent = self.weights.send(self.initial)

    def structure(self, positions: Tensor, cell: Tensor) -> Batch:
        integers = self.integers
        batch = Batch(atoms=integers.atoms, systems=integers.systems, threads=threads_for(integers.atoms))
        for name in ("order", "rank", "classes", "ptr", "senders", "shifts", "system_of"):
            setattr(batch, name, getattr(integers, name).data_ptr())
        batch.positions, batch.cell = positions.data_ptr(), cell.data_ptr()
        batch.initial, batch.initial_sent = self.initial.data_ptr(), self.sent.data_ptr()
        batch.initial_row = self.row.data_ptr()
        return batch


class _Features(torch.autograd.Function):
    """Positions and cell → features of every layer; the vectors of edges only receive gradients."""

    @staticmethod
    def forward(
        ctx: Any, engine: Engine, batch: _BatchOnHand, positions: Tensor, cell: Tensor, vectors: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.engine, ctx.batch, ctx.vectors_like = engine, batch, None if vectors is None else torch.empty_like(vectors)
        ctx.positions, ctx.cell = positions.detach().contiguous(), cell.detach().contiguous()
        ctx.tape, features = engine.forward(batch, ctx.positions, ctx.cell)
        weakref.finalize(ctx, engine.give_back, ctx.tape)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *seeds: Tensor) -> Any:
        by_edge = None if ctx.vectors_like is None else torch.zeros_like(ctx.vectors_like)
        found = ctx.engine.backward(ctx.batch, ctx.positions, ctx.cell, ctx.tape, seeds, by_edge)
        return (None, None, *(found if by_edge is None else (None, None)), by_edge)


def parts_of(trunk: "MACETrunk") -> list[tuple[dict[str, Any], str, Any]]:
    """Modules, parameters and buffers of a trunk, each with its dictionary: cheaper to look over than to walk."""
    found: list[tuple[dict[str, Any], str, Any]] = []
    for module in trunk.modules():
        for holder in (module._modules, module._parameters, module._buffers):
            found += [(holder, name, part) for name, part in holder.items()]
    return found


_ENGINES: "weakref.WeakKeyDictionary[MACETrunk, tuple[Any, Engine | None]]" = weakref.WeakKeyDictionary()


def engine_of(trunk: "MACETrunk") -> Engine | None:
    """The engine of a trunk; `None` where it has none: `MACETrunk.kernel_spec` and `engine_library` say why."""
    embedding = trunk.embedding
    switches = [os.environ.get(name) for name in ("GROUNDSTATE_NATIVE", "GROUNDSTATE_TARGET")]
    state = (embedding.dtype, embedding.device, *switches)
    known = _ENGINES.get(trunk)
    if known is None or known[0] != state:
        known = _ENGINES[trunk] = (state, _make(trunk))
    return known[1]


def _make(trunk: "MACETrunk") -> Engine | None:
    made = _compiled(trunk)
    if made is None or trunk.gate is not None:  # experts have no matrix before they are merged
        return None
    return Engine(trunk, *made)


def has_engine(trunk: "MACETrunk") -> bool:
    """Whether this trunk has an engine, or will have one when its experts are merged."""
    return _compiled(trunk) is not None


def _compiled(trunk: "MACETrunk") -> tuple[KernelSpec, Library] | None:
    spec = trunk.kernel_spec()
    if isinstance(spec, Unavailable) or len(trunk.layers) > MOST_LAYERS or trunk.embedding.device.type != "cpu":
        return None
    library = engine_library(spec)
    return None if isinstance(library, Unavailable) else (spec, library)


def engine_library(spec: KernelSpec) -> Library | Unavailable:
    """The compiled engine of a shape, checked against plain torch when first loaded; or why there is none."""
    return find(engine_plan(spec), check=_check_of(spec), remember="engine")


@cache
def _check_of(spec: KernelSpec) -> Callable[[Library], str | None]:
    from groundstate.potentials.mace.engine.self_test import check_engine  # it builds a trunk

    return partial(check_engine, spec)
