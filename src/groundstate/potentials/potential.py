"""What a potential is: a structure and its geometry in, energy and declared outputs out. `derive` takes derivatives."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from groundstate.atoms import Domain, Geometry, LevelOfTheory, OptionError, System


@dataclass(frozen=True, eq=False)
class Energy:
    """Potential energy in eV, float64: per system, and per atom where a partition exists (`None` where none does)."""

    per_system: Float[Tensor, " system"]
    per_atom: Float[Tensor, " atom"] | None = None

    @classmethod
    def of_atoms(cls, system: System, per_atom: Float[Tensor, " atom"]) -> "Energy":
        """An energy given as its partition; the sum is taken in float64 whatever the network computed in."""
        partition = per_atom.to(torch.float64)
        return cls(system.sum_over_atoms(partition), partition)

    @classmethod
    def zero(cls, system: System) -> "Energy":
        """No energy."""
        return cls.of_atoms(system, torch.zeros(system.n_atoms, dtype=torch.float64, device=system.device))

    def __add__(self, other: "Energy") -> "Energy":
        both = self.per_atom is not None and other.per_atom is not None
        return Energy(self.per_system + other.per_system, self.per_atom + other.per_atom if both else None)  # type: ignore[operator]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one pass gives: the energy, and further quantities under their names in the table of quantities."""

    energy: Energy
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


def identity(description: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> str:
    """`kind@hash` over what a potential says of itself and its parameters; equal exactly when both are."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(parameters.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{description['kind']}@{digest.hexdigest()[:12]}"


class Potential(nn.Module, ABC):
    """Anything that gives structures an energy: a network, a public model behind an adapter, a sum of such.

    A potential is a pure function of `system` and `geometry`; it keeps no state between calls and asks
    `geometry.edges(cutoff)` for its neighbours. The system's positions and cell may carry gradients.

    remembered   structures, without labels, that stand for those it was trained on: what fine-tuning replays. They
                 travel in its file, and no prediction depends on them
    """

    remembered: System | None = None

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """The structures it declares to know, for the contract at the doors."""

    @property
    @abstractmethod
    def cutoff(self) -> float:
        """The largest neighbour distance any of its parts asks for, Å."""

    @property
    @abstractmethod
    def theories(self) -> tuple[LevelOfTheory, ...]:
        """Levels of theory of its heads; `system.theory` indexes them. Empty when unknown or meaningless."""

    @property
    def provides(self) -> frozenset[str]:
        """Quantities it predicts directly, beyond the energy and its derivatives."""
        return frozenset()

    @property
    def native(self) -> bool:
        """Whether forces come from kernels of its own, and little is left for torch."""
        return False

    @property
    def conservative(self) -> bool:
        """Whether its forces are the derivative of its energy; direct forces heat or cool what moves freely."""
        return True

    @property
    def twice_differentiable(self) -> bool:
        """Whether torch can differentiate its forces by positions; elsewhere second derivatives are differences."""
        return True

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain data that says what it is; with the parameters it fixes the potential. `kind` names the class of it."""

    @abstractmethod
    def forward(self, system: System, geometry: Geometry) -> Prediction:
        """Energies of the batch."""

    @final
    def fingerprint(self) -> str:
        """The immutable identity recorded in every result."""
        return identity(self.describe(), self.state_dict())


class Sum(Potential):
    """Independent potentials add: a zero-shot model and a small correction, a network and dispersion."""

    def __init__(self, parts: Sequence[Potential]) -> None:
        super().__init__()
        if len(parts) == 0:
            raise OptionError("E-SUM-EMPTY", "a sum of potentials needs at least one", fix="give the potentials to add")
        self.parts = nn.ModuleList(parts)

    @property
    def potentials(self) -> tuple[Potential, ...]:
        """The parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, Potential))

    @property
    def domain(self) -> Domain:
        """What all parts know; a condition is needed if any part needs it, seen if any part sees it."""
        domains = [part.domain for part in self.potentials]
        known = [d.elements for d in domains if d.elements is not None]
        conditions = {
            name: min((getattr(d, name) for d in domains), key=("needs", "accepts", "ignores").index)
            for name in ("charge", "multiplicity", "theory")
        }
        return Domain(
            elements=frozenset.intersection(*known) if known else None,
            theories=max(d.theories for d in domains),
            reaches_contact=any(d.reaches_contact for d in domains),
            **conditions,
        )

    @property
    def cutoff(self) -> float:
        """The largest of the parts."""
        return max(part.cutoff for part in self.potentials)

    @property
    def theories(self) -> tuple[LevelOfTheory, ...]:
        """Those of the last part that names any: a correction says which level it corrects to."""
        named = [part.theories for part in self.potentials if part.theories]
        return named[-1] if named else ()

    @property
    def provides(self) -> frozenset[str]:
        """Union of the parts'."""
        return frozenset().union(*(part.provides for part in self.potentials))

    @property
    def native(self) -> bool:
        """Whether all parts are."""
        return all(part.native for part in self.potentials)

    @property
    def conservative(self) -> bool:
        """Whether all parts are."""
        return all(part.conservative for part in self.potentials)

    @property
    def twice_differentiable(self) -> bool:
        """Whether every part is."""
        return all(part.twice_differentiable for part in self.potentials)

    def describe(self) -> dict[str, Any]:
        """The parts' descriptions."""
        return {"kind": "sum", "parts": [part.describe() for part in self.potentials]}

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        """Energies add; a further quantity may come from one part only."""
        energy, outputs = Energy.zero(system), dict[str, Tensor]()
        for part in self.potentials:
            prediction = part(system, geometry)
            energy = energy + prediction.energy
            for name, value in prediction.outputs.items():
                if name in outputs:
                    raise OptionError(
                        "E-SUM-CONFLICT",
                        f"two parts of a sum both predict '{name}'",
                        why="only energies add without a rule",
                        fix="leave the head out of one of them",
                    )
                outputs[name] = value
        return Prediction(energy, outputs)
