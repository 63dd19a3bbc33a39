"""Everything a run must remember to continue as if it had never stopped.

Batches are a function of seed and epoch, so the position of the sampler is (epoch, batch) and there is no generator
to store. Checked: tests/training/test_resume.py (kill −9, then equality to the last bit).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from groundstate.potentials import Potential
from groundstate.training.config import TrainConfig
from groundstate.training.optimise import AverageWeights, assign, make_optimiser


@dataclass
class Counters:
    """The numbers of a run; JSON keeps Python floats exactly.

    epoch, batch: the next batch · reductions: plateaus met · waited: epochs since the best validation loss ·
    sums: quantity → [loss, squares, absolutes, count] of the epoch under way · history: the evaluations so far.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    rate: float = 0.0
    reductions: int = 0
    plateau_waited: int = 0
    waited: int = 0
    best_loss: float | None = None
    best: dict[str, float] = field(default_factory=dict)
    sums: dict[str, list[float]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, Any] | None = None


class State:
    """Weights, their average and best, the optimiser's moments, and the counters."""

    def __init__(self, potential: Potential, config: TrainConfig) -> None:
        self.potential = potential
        self.trained: dict[str, nn.Parameter] = {n: p for n, p in potential.named_parameters() if p.requires_grad}
        self.optimiser = make_optimiser(self.trained, config)
        self.average = AverageWeights(self.trained, config.ema_decay)
        self.best = {name: p.detach().clone() for name, p in self.trained.items()}
        self.counters = Counters()

    def keep_best(self) -> None:
        """Remember the averaged weights as the best so far."""
        self.best = {name: value.clone() for name, value in self.average.values.items()}

    def use_best(self) -> None:
        """Give the potential the best weights."""
        assign(self.trained, self.best)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors under flat names."""
        flat = {f"weights/{name}": value for name, value in self.potential.state_dict().items()}
        flat.update({f"average/{name}": value for name, value in self.average.values.items()})
        flat.update({f"best/{name}": value for name, value in self.best.items()})
        for index, moments in self.optimiser.state_dict()["state"].items():
            flat.update({f"optimiser/{index}/{key}": value for key, value in moments.items()})
        return flat

    def document(self) -> dict[str, Any]:
        """The rest, for JSON."""
        return asdict(self.counters)

    def restore(self, tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
        """Inverse of `tensors` and `document`."""
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "best": {}, "optimiser": {}}
        for name, value in tensors.items():
            group, rest = name.split("/", 1)
            groups[group][rest] = value
        self.potential.load_state_dict(groups["weights"])
        for mine, stored in ((self.average.values, groups["average"]), (self.best, groups["best"])):
            for name, value in mine.items():
                value.copy_(stored[name])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in groups["optimiser"].items():
            index, key = name.split("/", 1)
            moments.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.counters = Counters(**document)


def reduce_gradients(parameters: list[nn.Parameter], total: Callable[[Tensor], Tensor]) -> None:
    """Add the gradients of all processes, as one vector; a parameter no frame of this process touched counts 0."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    summed = total(torch.cat([g.reshape(-1) for g in gradients]))
    offset = 0
    for parameter in parameters:
        parameter.grad = summed[offset : offset + parameter.numel()].reshape(parameter.shape).clone()
        offset += parameter.numel()
