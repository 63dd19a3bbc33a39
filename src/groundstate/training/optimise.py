"""How weights move: learning rate, weights of the loss, and the average of weights that is evaluated and saved."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from groundstate.training.config import TrainConfig
from groundstate.training.muon import Muon

TENSORS_PER_PARAMETER = 5
"""Of its size, held through a run beside a parameter: gradient, three moments of AMSGrad, and a copy in evaluations."""


def make_optimiser(parameters: Mapping[str, nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Adam, AdamW or Muon."""
    rate, decay, amsgrad = config.learning_rate, config.weight_decay, config.amsgrad
    if config.optimiser == "muon":
        return Muon(parameters, rate, decay, amsgrad)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser]
    # Fused: one kernel a step, not ten per parameter.
    return kind(parameters.values(), lr=rate, weight_decay=decay, amsgrad=amsgrad, fused=True)


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int, progress: float, reductions: int) -> float:
    """The rate of this step. progress of the run in [0, 1]; reductions: plateaus met so far."""
    warmup_steps = config.warmup_epochs * steps_per_epoch
    factor = min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0
    floor = config.final_learning_rate_fraction
    if config.schedule == "cosine":
        factor *= floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    elif config.schedule == "plateau":
        factor *= max(floor, config.plateau_factor**reductions)
    return config.learning_rate * factor


def weights_at(first: Mapping[str, float], last: Mapping[str, float], progress: float) -> dict[str, float]:
    """Weights of the parts of a loss at a progress of the run in [0, 1]: even steps of their logarithms."""
    return {name: weight * (last[name] / weight) ** progress for name, weight in first.items()}


class AverageWeights:
    """Exponential moving average of parameters, θ̄ ← d·θ̄ + (1 − d)·θ with d = min(decay, (1 + n)/(10 + n)) at update n.

    The rising d lets an average over few steps follow the weights instead of their initial values.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = dict(parameters), decay
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """After optimiser step number `updates` (from 0)."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        for name, parameter in self._parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this, the parameters are the averaged ones."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        assign(self._parameters, self.values)
        try:
            yield
        finally:
            assign(self._parameters, own)


@torch.no_grad()
def assign(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Copy values into parameters, in place."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
