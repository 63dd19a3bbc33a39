"""How the layers of a trunk reach neighbours: on compiled kernels, or in plain torch where there are none.

Both compute the same from the same tables; layers do not know which one they use.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.atoms import Edges
from groundstate.equivariant import Constant, Mixture, spherical_harmonics
from groundstate.equivariant.operators import KernelSpec, harmonics, message, product, radial_table
from groundstate.equivariant.operators.reference import interpolate
from groundstate.potentials.mace.radial import RadialFunctions, RadialNetwork
from groundstate.potentials.mace.slots import Slots
from groundstate.potentials.mace.tables import RadialTables

if TYPE_CHECKING:
    from groundstate.potentials.mace.trunk import Layer


class Neighbours(ABC):
    """The surroundings of all atoms of a batch, measured once for all layers."""

    @abstractmethod
    def density(
        self, layer: "Layer", sent: Float[Tensor, "atom irrep channel"], mixture: Mixture | None = None
    ) -> Float[Tensor, "atom irrep_a channel"]:
        """A: what each atom collects from its neighbours, its paths mixed."""

    @abstractmethod
    def product(self, layer: "Layer", density: Tensor, classes: Int[Tensor, " atom"]) -> Tensor:
        """B(A): the symmetric contraction."""


class PlainNeighbours(Neighbours):
    """In plain torch: neighbours in rows of equal length, sums as batched matrix products."""

    def __init__(
        self,
        edges: Edges,
        classes: Int[Tensor, " atom"],
        n_classes: int,
        lmax: int,
        functions: RadialFunctions,
        tables: RadialTables | None,
        dtype: torch.dtype,
    ) -> None:
        self.slots = slots = Slots.of(edges, functions.config.cutoff, dtype)
        pairs = classes[slots.receivers] * n_classes + classes[slots.senders]
        distances = torch.linalg.vector_norm(slots.vectors, dim=1)
        self.harmonics = spherical_harmonics(lmax, slots.vectors / distances[:, None])
        self._functions, self._tables = functions, tables
        if tables is None:
            self._basis, self._strength = functions(distances, pairs)
        else:
            self._x, self._table, self._fade = functions.place(distances, pairs)

    def density(self, layer: "Layer", sent: Tensor, mixture: Mixture | None = None) -> Tensor:
        blocks = layer.message(sent, self.slots, self.harmonics, self._weights(layer.radial))
        return torch.cat(layer.down.mix(blocks, mixture=mixture)).transpose(0, 1)

    def product(self, layer: "Layer", density: Tensor, classes: Tensor) -> Tensor:
        made: Tensor = layer.product(density, classes)
        return made

    def _weights(self, network: RadialNetwork) -> Float[Tensor, "path slot channel"]:
        if self._tables is None:
            weights: Tensor = network(self._basis, self._strength)
            return weights
        weights = interpolate(self._tables(network), self._x, self._table)
        return weights if self._fade is None else weights * self._fade[:, None]


@dataclass(frozen=True, eq=False)
class KernelNeighbours(Neighbours):
    """On compiled kernels: edges as they come, nothing kept per edge and channel.

    The fade, a factor of the radial weights, is carried by the harmonics, where it costs one number per edge.
    """

    spec: KernelSpec
    edges: Edges
    x: Float[Tensor, " edge"]
    which: Int[Tensor, " edge"]
    harmonics: Float[Tensor, "edge irrep_harmonic"]
    tables: RadialTables

    @classmethod
    def of(
        cls,
        spec: KernelSpec,
        edges: Edges,
        classes: Int[Tensor, " atom"],
        n_classes: int,
        functions: RadialFunctions,
        tables: RadialTables,
    ) -> "KernelNeighbours":
        """Neighbours of a batch."""
        vectors = edges.vectors.to(getattr(torch, spec.dtype))
        pairs = classes[edges.receivers] * n_classes + classes[edges.senders]
        distances = torch.linalg.vector_norm(vectors, dim=1)
        x, which, fade = functions.place(distances, pairs)
        values = harmonics(spec, vectors / distances[:, None])
        return cls(spec, edges, x, which.to(torch.int32), values if fade is None else values * fade[:, None], tables)

    def density(self, layer: "Layer", sent: Tensor, mixture: Mixture | None = None) -> Tensor:
        table, edges = radial_table(self.tables(layer.radial)), self.edges
        rows = message(
            self.spec,
            layer.degree_in,
            sent,
            table,
            self.x,
            self.harmonics,
            edges.receiver_ptr,
            edges.senders,
            self.which,
        )
        mixed: Tensor = layer.down(rows, 1.0 / layer.average, mixture)
        return mixed

    def product(self, layer: "Layer", density: Tensor, classes: Tensor) -> Tensor:
        # Coefficients are folded for the classes at hand only: a model of the periodic table has ninety.
        present, index = torch.unique(classes, return_inverse=True)
        return product(self.spec, layer.degree_out, density, folded(self.spec, layer, present), index)


def folded(spec: KernelSpec, layer: "Layer", classes: Int[Tensor, " class"]) -> Float[Tensor, "class slot channel"]:
    """Coefficients of the polynomials of a product, from its weights."""
    weights = torch.cat([w.index_select(0, classes) for w in layer.product.weights], dim=1)
    program = spec.products[layer.degree_out]
    if program not in _FOLDS:
        _FOLDS[program] = Constant(program.fold)
    return torch.matmul(_FOLDS[program].like(weights), weights)


_FOLDS: dict[object, Constant] = {}
