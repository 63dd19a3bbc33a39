"""A model is trunk → heads → terms: features of atoms, quantities read from them, energies made of those.

`Trunk(system, geometry) → NodeFeatures`; each `Head` reads quantities per atom; each `Term` turns them, the geometry or
both into an energy. Terms that share a trunk are one model; independent potentials add in `potential.Sum`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from groundstate.atoms import Domain, Geometry, LevelOfTheory, System
from groundstate.potentials.potential import Energy, Potential, Prediction


@dataclass(frozen=True, eq=False)
class NodeFeatures:
    """Features of atoms after each layer, `[atom, irrep, channel]` with irrep = l² + l + m; layer 0 first."""

    layers: tuple[Float[Tensor, "atom _irrep channel"], ...]  # the number of irreps differs between layers


class Trunk(nn.Module, ABC):
    """Structure to node features; everything a model learns about environments."""

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """Elements and conditions it was built for."""

    @property
    @abstractmethod
    def cutoff(self) -> float:
        """Å"""

    @property
    def native(self) -> bool:
        """Whether features come from kernels of its own where only first derivatives are asked for."""
        return False

    @abstractmethod
    def forward(self, system: System, geometry: Geometry) -> NodeFeatures:
        """Features of every atom."""


class Head(nn.Module, ABC):
    """Reads quantities per atom from the features; names are those of the table of quantities."""

    provides: frozenset[str]

    @abstractmethod
    def forward(self, features: NodeFeatures, system: System) -> dict[str, Tensor]:
        """Quantity name to values."""


class Term(nn.Module, ABC):
    """One contribution to the energy. `cutoff` 0 when it asks for no neighbours; `reaches_contact` when it repels."""

    cutoff: float = 0.0
    reaches_contact: bool = False

    @abstractmethod
    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        """Energy of the batch; `outputs` are what the heads predicted."""


class Model(Potential):
    """Trunk, heads and terms under one description. `trunk` is `None` for a purely analytic potential."""

    def __init__(
        self,
        trunk: Trunk | None,
        heads: Mapping[str, Head],
        terms: Mapping[str, Term],
        *,
        description: Mapping[str, Any],
        theories: tuple[LevelOfTheory, ...] = (),
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict(dict(heads))
        self.terms = nn.ModuleDict(dict(terms))
        self._description, self._theories = dict(description), theories

    @property
    def domain(self) -> Domain:
        """The trunk's, down to contact when a term repels there."""
        base = Domain() if self.trunk is None else self.trunk.domain
        return Domain(
            elements=base.elements,
            charge=base.charge,
            multiplicity=base.multiplicity,
            theory=base.theory,
            theories=base.theories,
            reaches_contact=any(bool(term.reaches_contact) for term in self.terms.values()),
        )

    @property
    def cutoff(self) -> float:
        """The largest of trunk and terms."""
        own = [] if self.trunk is None else [self.trunk.cutoff]
        return max(own + [float(term.cutoff) for term in self.terms.values()])  # type: ignore[arg-type]

    @property
    def theories(self) -> tuple[LevelOfTheory, ...]:
        """One per head of the reference energies."""
        return self._theories

    @property
    def provides(self) -> frozenset[str]:
        """What the heads read, without the energies the terms consume."""
        return frozenset().union(*(head.provides for head in self.heads.values())) - {"energies"}  # type: ignore[arg-type]

    @property
    def native(self) -> bool:
        """Whether its trunk is."""
        return self.trunk is not None and self.trunk.native

    def describe(self) -> dict[str, Any]:
        """Configuration it was built from."""
        return {**self._description, "theories": [theory.as_dict() for theory in self._theories]}

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        """Trunk, then heads, then the sum of terms."""
        outputs: dict[str, Tensor] = {}
        if self.trunk is not None:
            features = self.trunk(system, geometry)
            for head in self.heads.values():
                outputs.update(head(features, system))
        energy = Energy.zero(system)
        for term in self.terms.values():
            energy = energy + term(system, geometry, outputs)
        return Prediction(energy, {name: value for name, value in outputs.items() if name in self.provides})
