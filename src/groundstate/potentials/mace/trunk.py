"""Message passing with many-body products: structure to features of atoms.

Every tensor of features reads `[atom, irrep, channel]` and lies in memory with the irrep axis slowest, so that the
degrees of all atoms are one matrix each.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundstate.atoms import Domain, Geometry, ModelError, System
from groundstate.atoms.elements import N_ELEMENTS, symbols
from groundstate.equivariant import (
    ClassedIrrepLinear,
    IrrepLayout,
    IrrepLinear,
    Mixture,
    SymmetricContraction,
    unit_normal,
)
from groundstate.equivariant.native import Unavailable
from groundstate.equivariant.operators import KernelSpec, operators_missing
from groundstate.potentials.mace.conditions import ConditionEmbedding
from groundstate.potentials.mace.config import MACEConfig
from groundstate.potentials.mace.engine import Engine, engine_of, has_engine
from groundstate.potentials.mace.experts import Gate, Globals
from groundstate.potentials.mace.merging import MergedCache, MergedFor, OnlyFor, mixed_state
from groundstate.potentials.mace.message import Message
from groundstate.potentials.mace.passing import KernelNeighbours, Neighbours, PlainNeighbours
from groundstate.potentials.mace.radial import RadialFunctions, RadialNetwork
from groundstate.potentials.mace.tables import RadialTables
from groundstate.potentials.model import NodeFeatures, Trunk


class MACETrunk(Trunk):
    """Batatia et al., NeurIPS 2022 (arXiv:2206.07697), with natural-parity features and independent couplings only.

    An atom without neighbours has features of exactly zero: there are no biases, and the first layer has no path from
    an atom to itself (unless `residual_first` gives it one, which then depends on its element alone).
    Checked: tests/potentials/test_mace.py
    """

    def __init__(
        self,
        config: MACEConfig,
        elements: Sequence[int],
        n_theories: int,
        *,
        generator: torch.Generator,
        merged: MergedFor | None = None,
    ) -> None:
        super().__init__()
        dtype = getattr(torch, config.dtype)
        self.config, self._elements = config, tuple(elements)
        self.only = None if merged is None else OnlyFor(merged, config, self._elements)
        self._domain = Domain(
            elements=frozenset(elements) if merged is None else merged.elements,
            charge=config.charge,
            multiplicity=config.multiplicity,
            theory="accepts" if n_theories > 1 else "ignores",
            theories=n_theories,
        )
        class_of_number = torch.full((N_ELEMENTS + 1,), -1)
        class_of_number[list(elements)] = torch.arange(len(elements))
        self.register_buffer("class_of_number", class_of_number, persistent=False)
        self.radial_functions = RadialFunctions(config, elements)
        knots, kept = config.radial_knots, config.radial_smoothness + 1
        self.tables = RadialTables(self.radial_functions, knots, kept) if knots else None
        self.embedding = unit_normal([(len(elements), config.channels)], dtype, None, generator)[0]
        conditioned = config.charge != "ignores" or config.multiplicity != "ignores"
        self.conditions = ConditionEmbedding(config, dtype=dtype, generator=generator) if conditioned else None
        layers = [Layer(config, len(elements), i, dtype=dtype, generator=generator) for i in range(config.layers)]
        excess = self.radial_functions.excess()
        for layer in layers:
            layer.radial.hidden[0].data /= excess
        self.layers = nn.ModuleList(layers)
        made = Made(dtype=dtype, generator=generator)
        self.gate = Gate(config, len(elements), n_theories, **made) if config.experts else None
        self._merged = MergedCache()

    @property
    def domain(self) -> Domain:
        """The elements it was built with."""
        return self._domain

    @property
    def cutoff(self) -> float:
        """Å"""
        return self.config.cutoff

    @property
    def native(self) -> bool:
        """Whether it has an engine here; with experts, for structures that are mixed alike."""
        return engine_of(self) is not None if self.gate is None else has_engine(self)

    def forward(self, system: System, geometry: Geometry) -> NodeFeatures:
        """Features after each layer; all but the last carry degrees 0 … hidden_lmax, the last is invariant.

        Where only first derivatives by the geometry are asked for and kernels are at hand, the native engine gives the
        invariants of every layer instead, and nothing else.
        """
        classes = self.classes(system)
        found = None if self.gate is None else self.gate.globals_of(system, classes)
        initial = self.initial(system, classes)
        if geometry.first_order and (engine := self._engine(found)) is not None:
            return NodeFeatures(engine.features(system, geometry, classes, initial))
        return self._through_layers(initial, classes, self._neighbours(geometry, classes), self._mixture(found))

    def forward_plain(self, system: System, geometry: Geometry) -> NodeFeatures:
        """The same in plain torch whatever kernels are at hand: what they are checked against."""
        classes = self.classes(system)
        mixture = self._mixture(None if self.gate is None else self.gate.globals_of(system, classes))
        neighbours = self._plain_neighbours(geometry, classes)
        return self._through_layers(self.initial(system, classes), classes, neighbours, mixture)

    @torch.no_grad()
    def merged(self, row: Float[Tensor, " column"]) -> "MACETrunk":
        """The plain trunk that this one, with experts, is for structures of one row of `experts.Globals`."""
        assert self.gate is not None
        config, theories = replace(self.config, experts=0), self.gate.n_theories
        plain = MACETrunk(config, self._elements, theories, generator=torch.Generator())
        plain.to(self.embedding.device).load_state_dict(mixed_state(self, self.gate(row[None])[0]), assign=True)
        return plain.requires_grad_(False)

    def _engine(self, found: Globals | None) -> Engine | None:
        """That of the merged trunk where all structures are mixed alike."""
        if found is None:
            return engine_of(self)
        if len(found.rows) > 1 or not has_engine(self):
            return None
        return engine_of(self._merged.of(self, found.rows[0]))

    def _mixture(self, found: Globals | None) -> Mixture | None:
        return None if self.gate is None or found is None else self.gate.mixture(found)

    def kernel_spec(self) -> KernelSpec | Unavailable:
        """The kernels made for this trunk; or why there can be none."""
        config = self.config
        if self.tables is None:
            return Unavailable("its radial functions are not tabulated", "Give the model radial_knots")
        shape = (config.lmax, config.hidden_lmax, config.correlation, config.channels)
        try:
            return KernelSpec(*shape, str(self.embedding.dtype).removeprefix("torch."), self.tables.kept)
        except ValueError as error:
            return Unavailable(str(error), "Choose a shape that kernels are generated for")

    def _neighbours(self, geometry: Geometry, classes: Int[Tensor, " atom"]) -> Neighbours:
        spec = self.kernel_spec()
        if isinstance(spec, Unavailable) or self.tables is None or operators_missing(spec, self.embedding.device):
            return self._plain_neighbours(geometry, classes)
        settings = (classes, len(self.embedding), self.radial_functions, self.tables)
        return KernelNeighbours.of(spec, geometry.edges(self.cutoff), *settings)

    def _plain_neighbours(self, geometry: Geometry, classes: Int[Tensor, " atom"]) -> Neighbours:
        settings = (self.config.lmax, self.radial_functions, self.tables, self.embedding.dtype)
        return PlainNeighbours(geometry.edges(self.cutoff), classes, len(self.embedding), *settings)

    def _through_layers(
        self,
        features: Float[Tensor, "atom 1 channel"],
        classes: Int[Tensor, " atom"],
        neighbours: Neighbours,
        mixture: Mixture | None,
    ) -> NodeFeatures:
        outputs = []
        for layer in self.layers:
            features = layer(features, classes, neighbours, mixture)
            outputs.append(features)
        return NodeFeatures(tuple(outputs))

    def classes(self, system: System) -> Int[Tensor, " atom"]:
        """Position of each atom's element among those of the model; what it was not made for is refused."""
        classes = self.get_buffer("class_of_number")[system.numbers]
        if bool((classes < 0).any()):
            strange = sorted(set(system.numbers[classes < 0].tolist()))
            raise ModelError(
                "E-ELEMENT-UNSUPPORTED",
                f"the model was not made for {', '.join(symbols(strange))}",
                why="it has no parameters for them",
                fix=f"it knows {', '.join(symbols(sorted(self._domain.elements or ())))}",
                atoms=(classes < 0).nonzero()[:, 0].tolist(),
            )
        if self.only is not None:
            self.only(system, classes)
        return classes

    def initial(self, system: System, classes: Int[Tensor, " atom"]) -> Float[Tensor, "atom 1 channel"]:
        """Features before the first layer: of the element, and of what charge and spin make of it."""
        features = self.embedding[classes]
        if self.conditions is not None:
            factor, summand = self.conditions(system)
            features = features * factor[system.system_index] + summand[system.system_index]
        return features[:, None, :]


class Made(TypedDict):
    """How weights are drawn."""

    dtype: torch.dtype
    generator: torch.Generator


class Layer(nn.Module):
    """One message, one product: h → Σ_j R [h_j ⊗ Y] → A → B(A) → h.

    up, down, mix   linear maps of channels: before the message, over its paths, after the product; of experts, if any
    skip            what is kept of h, through a matrix of the element
    """

    def __init__(
        self, config: MACEConfig, n_elements: int, index: int, *, dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        width, lmax_in = config.channels, config.hidden_lmax if index > 0 else 0
        lmax_out = config.hidden_lmax if index < config.layers - 1 else 0
        self.degree_in, self.degree_out, self.average = lmax_in, lmax_out, config.average_neighbours
        made, several = Made(dtype=dtype, generator=generator), config.experts
        self.up = IrrepLinear(IrrepLayout.plain(lmax_in), width, width, experts=several, **made)
        self.message = Message(lmax_in, config.lmax, config.lmax, config.average_neighbours)
        paths = len(self.message.paths)
        self.radial = RadialNetwork(config.radial_basis, config.radial_widths, paths, width, **made)
        self.down = IrrepLinear(IrrepLayout(self.message.copies), width, width, experts=several, **made)
        self.product = SymmetricContraction(config.lmax, lmax_out, config.correlation, width, n_elements, **made)
        self.mix = IrrepLinear(IrrepLayout.plain(lmax_out), width, width, experts=several, **made)
        self.skip = None
        if config.residual and (index > 0 or config.residual_first):
            self.skip = ClassedIrrepLinear(lmax_in, width, width, n_elements, lmax_out=min(lmax_in, lmax_out), **made)

    def forward(
        self,
        features: Float[Tensor, "atom irrep_in channel"],
        classes: Int[Tensor, " atom"],
        neighbours: Neighbours,
        mixture: Mixture | None = None,
    ) -> Float[Tensor, "atom irrep_out channel"]:
        density = neighbours.density(self, _by_degree(self.up, features, mixture), mixture)
        made = _by_degree(self.mix, neighbours.product(self, density, classes), mixture)
        if self.skip is None:
            return made
        kept = self.skip(features, classes)
        return made + nn.functional.pad(kept, (0, 0, 0, made.shape[1] - kept.shape[1]))


def _by_degree(
    linear: IrrepLinear, features: Float[Tensor, "atom irrep channel"], mixture: Mixture | None
) -> Float[Tensor, "atom irrep channel"]:
    """A linear map of features that lie with the irrep axis slowest, kept so."""
    degrees = features.transpose(0, 1).split([2 * l + 1 for l in range(linear.lmax_out + 1)])
    return torch.cat(linear.mix(degrees, mixture=mixture)).transpose(0, 1)
