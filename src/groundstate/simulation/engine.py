"""Forces for a batch that moves: neighbour lists reused while they are complete, failures kept to their structure."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from groundstate.atoms import Graph, GroundstateError, System, VerletList
from groundstate.potentials import Potential, evaluate


@runtime_checkable
class Forces(Protocol):
    """Whatever moves atoms: an engine, or a mixture of one with something else."""

    def evaluate(self, system: System, want: Sequence[str]) -> tuple[dict[str, Tensor], dict[int, GroundstateError]]:
        """Quantities of the batch, and the structures that fail."""


class Engine:
    """A potential with the neighbour lists of the structures under way. Checked: tests/simulation/test_engine.py"""

    def __init__(self, potential: Potential, skin: float) -> None:
        self.potential = potential
        self.neighbours = VerletList(potential.cutoff, skin)
        self.latest: Graph | None = None
        """The graph of the latest evaluation, `None` when structures were evaluated one by one."""

    def select(self, systems: Sequence[int]) -> None:
        """Only these structures stay under way."""
        self.neighbours.select(systems)

    def extend(self, count: int) -> None:
        """Structures were added at the end of the batch."""
        self.neighbours.extend(count)

    def evaluate(self, system: System, want: Sequence[str]) -> tuple[dict[str, Tensor], dict[int, GroundstateError]]:
        """Quantities of the batch, and the structures the potential refuses, whose rows are NaN."""
        try:
            self.latest = self.neighbours.graph(system)
            return evaluate(self.potential, system, want, graph=self.latest), {}
        except (GroundstateError, torch.linalg.LinAlgError):
            self.latest = None
            return self._one_by_one(system, want)

    def _one_by_one(self, system: System, want: Sequence[str]) -> tuple[dict[str, Tensor], dict[int, GroundstateError]]:
        parts, errors = [], {}
        for s, single in enumerate(system):
            try:
                parts.append(evaluate(self.potential, single, want))
            except (GroundstateError, torch.linalg.LinAlgError) as error:
                errors[s] = (
                    error
                    if isinstance(error, GroundstateError)
                    else GroundstateError("E-RESULT-NOT-FINITE", f"the potential failed: {error}")
                )
                nan = torch.full((single.n_atoms, 3, 3), torch.nan, dtype=torch.float64, device=single.device)
                rows = {"energy": nan[:1, 0, 0], "forces": nan[:, :, 0], "strain_gradient": nan[:1]}
                parts.append({name: rows[name] for name in want})
        return {name: torch.cat([part[name] for part in parts]) for name in want}, errors
