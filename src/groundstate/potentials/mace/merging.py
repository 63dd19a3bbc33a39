"""At a fixed composition, charge, spin and level of theory, linear experts are one matrix: a plain MACE."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundstate.atoms import ModelError, System
from groundstate.atoms.elements import element, from_label
from groundstate.equivariant import Constant, IrrepLinear
from groundstate.potentials.mace.config import MACEConfig
from groundstate.potentials.mace.engine import parts_of
from groundstate.potentials.mace.experts import globals_of

if TYPE_CHECKING:
    from groundstate.potentials.mace.trunk import MACETrunk

_SAME = 1e-9
"""Of fractions and of charges per atom."""


@dataclass(frozen=True)
class MergedFor:
    """The only structures a merged model answers for.

    of            fingerprint of the model with the experts
    composition   fraction of each element, by symbol
    charge        e per atom
    multiplicity  (multiplicity − 1) per atom
    theory        index among the levels of theory of the model with the experts; the merged one has this one alone
    """

    of: str
    composition: Mapping[str, float]
    charge: float = 0.0
    multiplicity: float = 0.0
    theory: int = 0

    @classmethod
    def first_of(cls, of: str, system: System) -> "MergedFor":
        """That of the first structure of a batch."""
        first = system[0]
        n = first.n_atoms
        counts = torch.bincount(first.numbers).tolist()
        return cls(
            of,
            {element(z).symbol: count / n for z, count in enumerate(counts) if count},
            0.0 if first.charge is None else float(first.charge) / n,
            0.0 if first.multiplicity is None else (int(first.multiplicity) - 1) / n,
            0 if first.theory is None else int(first.theory),
        )

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers."""
        return frozenset(from_label(symbol)[0].number for symbol in self.composition)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "composition": dict(self.composition)}

    def __str__(self) -> str:
        formula = " ".join(f"{symbol} {fraction:.4g}" for symbol, fraction in self.composition.items())
        stated = {"charge per atom": self.charge, "multiplicity − 1 per atom": self.multiplicity}
        return ", ".join([formula, *(f"{name} {value:.4g}" for name, value in stated.items() if value)])


class OnlyFor(nn.Module):
    """Refuses every structure but those a merged model is for."""

    def __init__(self, merged: MergedFor, config: MACEConfig, elements: tuple[int, ...]) -> None:
        super().__init__()
        self.merged, self._config, self._elements = merged, config, elements
        row = [merged.composition.get(element(z).symbol, 0.0) for z in elements]
        row += [merged.charge] * (config.charge != "ignores")
        row += [merged.multiplicity] * (config.multiplicity != "ignores")
        self._row = Constant(np.array(row))

    def forward(self, system: System, classes: Int[Tensor, " atom"]) -> None:
        """Raises ModelError (E-EXPERTS-COMPOSITION, E-EXPERTS-THEORY)."""
        found = globals_of(self._config, len(self._elements), 1, system, classes)
        strange = ((found.rows - self._row.like(found.rows)).abs() > _SAME).any(dim=1).tolist()
        if any(strange):
            frame = next(s for s, group in enumerate(found.groups) if strange[group])
            raise ModelError(
                "E-EXPERTS-COMPOSITION",
                f"the model was merged for {self.merged}, and this is {MergedFor.first_of('', system[frame])}",
                why="for other compositions, charges and spins its experts mix differently",
                fix=f"use the model it was merged from ({self.merged.of}), or merge that one for this structure",
                frame=frame,
            )
        if system.theory is not None and bool((system.theory != 0).any()):
            raise ModelError(
                "E-EXPERTS-THEORY",
                "a merged model has one level of theory, number 0, and another was asked for",
                why="its experts were mixed for that level",
                fix=f"merge the model it was merged from ({self.merged.of}) for the other level",
                frame=int((system.theory != 0).nonzero()[0, 0]),
            )


def mixed_state(trunk: "MACETrunk", shares: Float[Tensor, " expert"]) -> dict[str, Tensor]:
    """Parameters of the plain trunk that a trunk with experts is where they are mixed by `shares`."""
    stacks = {
        f"{prefix}.{name}"
        for prefix, module in trunk.named_modules()
        if isinstance(module, IrrepLinear) and module.experts
        for name, _ in module.named_parameters()
    }
    return {
        name: torch.tensordot(shares, value.detach(), dims=1) if name in stacks else value.detach()
        for name, value in trunk.state_dict().items()
        if not name.startswith("gate.")
    }


class MergedCache:
    """The merged form of a trunk for what was asked last; made anew where that, or a parameter, has changed."""

    def __init__(self) -> None:
        self._row, self._state = torch.empty(0), list[tuple[int, int]]()
        self._parts: list[tuple[dict[str, Any], str, Any]] = []
        self._merged: MACETrunk | None = None

    def __deepcopy__(self, memo: Any) -> "MergedCache":
        return MergedCache()

    def of(self, trunk: "MACETrunk", row: Float[Tensor, " column"]) -> "MACETrunk":
        """For one row of `Globals`."""
        if self._merged is None or not self._serves(row):
            self._row, self._parts = row, parts_of(trunk)
            self._state = _state(self._parts)
            self._merged = trunk.merged(row)
        return self._merged

    def _serves(self, row: Tensor) -> bool:
        same = all(holder.get(name) is part for holder, name, part in self._parts)
        return same and self._state == _state(self._parts) and torch.equal(self._row, row)


def _state(parts: list[tuple[dict[str, Any], str, Any]]) -> list[tuple[int, int]]:
    """Of every parameter: where it lies, which a move to another precision changes, and how often it was written."""
    tensors = [part for _, _, part in parts if isinstance(part, Tensor)]
    return [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]
