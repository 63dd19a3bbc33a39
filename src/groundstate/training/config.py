"""What a training run is told, checked on construction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from groundstate.atoms import OptionError, nearest, quantity

MAY_CHANGE_ON_RESUME = frozenset(
    {
        "time_limit_minutes",
        "checkpoint_every_minutes",
        "tensorboard",
        "accelerator",
        "devices",
        "accumulate",
        "workers",
        "neighbour_cache_MB",
    }
)
"""Options that do not change what is learned from which batch; all others must be as they were when a run resumes."""


def _default_weights() -> dict[str, float]:
    return {"energy": 100.0, "forces": 10.0}


@dataclass(frozen=True)
class TrainConfig:
    """Options of the training loop. Learning rate, batch, loss and weights were chosen on 50 validation frames of
    acetylacetone at 300 K, by the error that a few epochs of a small MACE reach.

    batch_size   structures per step, over all processes and pieces; in its place `max_atoms`, `max_edges` or both:
                 as many structures as stay within them. Time and memory follow edges: ordered pairs within the cutoff
    accumulate   pieces of a step that each process computes one after another: less memory, the same step
    workers      threads that join structures and find neighbours of coming steps; 0 does it between steps
    neighbour_cache_MB  kept neighbour lists, 11 bytes an edge; what does not fit is found again in every epoch
    weights      quantity → weight w in Σ_q w_q · mean ρ(error_q); extensive quantities count per atom; base units
    final_weights  of some of these, at the end of the run: with the progress of the run a weight goes from one to the
                 other evenly in its logarithm, and the end is what evaluations judge by
    loss         ρ: "mse", or "huber" with corner `huber_delta` (in the quantity's unit) where labels have outliers
    amsgrad      whether steps follow the largest second moment so far (Reddi, Kale, Kumar, ICLR 2018)
    missing      "refuse": every frame carries every weighted label; "mask": absent labels are left out of the means
    optimiser    "adam", "adamw", or "muon": orthogonalised steps for maps between channels, Adam for the rest
    schedule     after a linear warm-up over `warmup_epochs`: "cosine" down to `final_learning_rate_fraction`, "plateau"
                 (× `plateau_factor` after `plateau_patience` epochs without a better validation loss), or "constant".
                 Under a time limit the cosine follows whichever of epochs and time is further on.
    ema_decay    of the running average of weights that is evaluated and saved; 0 evaluates the weights themselves
    gradient_clip  largest norm of the gradient; `None` for none
    patience     epochs without a better validation loss before stopping; `None` never stops early
    largest_offset  eV/atom; a mean error above it before training means that reference energies and labels disagree
    remember     structures, drawn at random from those that are taught, that the model file carries without their
                 labels: fine-tuning replays them, so that less is forgotten. Whoever has the file can read them
    devices      processes × accelerators of this machine, where neither torchrun nor SLURM has started them; the losses
                 do not depend on their number beyond rounding
    """

    epochs: int = 200
    batch_size: int = 4
    max_atoms: int | None = None
    max_edges: int | None = None
    accumulate: int = 1
    workers: int = 1
    neighbour_cache_MB: int = 1000
    weights: Mapping[str, float] = field(default_factory=_default_weights)
    final_weights: Mapping[str, float] = field(default_factory=dict)
    loss: str = "mse"
    huber_delta: float = 0.01
    missing: str = "refuse"
    learning_rate: float = 0.02
    optimiser: str = "muon"
    amsgrad: bool = True
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    final_learning_rate_fraction: float = 0.01
    plateau_factor: float = 0.5
    plateau_patience: int = 20
    ema_decay: float = 0.99
    gradient_clip: float | None = 10.0
    patience: int | None = None
    time_limit_minutes: float | None = None
    checkpoint_every_minutes: float = 10.0
    largest_offset: float = 1.0
    remember: int = 0
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    tensorboard: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", {str(k): float(w) for k, w in sorted(self.weights.items())})
        for name, weight in self.weights.items():
            quantity(name)
            _require(math.isfinite(weight) and weight >= 0, f"weights.{name}", weight, "a number ≥ 0")
        _require(any(self.weights.values()), "weights", self.weights, "at least one weight above 0")
        object.__setattr__(self, "final_weights", {str(k): float(w) for k, w in sorted(self.final_weights.items())})
        for name, weight in self.final_weights.items():
            _require(math.isfinite(weight) and weight > 0, f"final_weights.{name}", weight, "a number above 0")
            _require(
                self.weights.get(name, 0) > 0, f"final_weights.{name}", weight, "of a quantity with a weight above 0"
            )
        choices = {
            "loss": ("huber", "mse"),
            "missing": ("refuse", "mask"),
            "optimiser": ("adam", "adamw", "muon"),
            "schedule": ("cosine", "plateau", "constant"),
            "accelerator": ("auto", "cpu", "cuda", "gpu", "mps"),
        }
        for name, known in choices.items():
            value = str(getattr(self, name))
            if value not in known:
                raise OptionError("E-OPTION-CHOICE", f"{name} cannot be '{value}'", fix=nearest(value, known))
        for name in ("epochs", "batch_size", "accumulate", "plateau_patience", "devices"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("huber_delta", "learning_rate", "largest_offset"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        pace = ("weight_decay", "warmup_epochs", "checkpoint_every_minutes")
        for name in (*pace, "workers", "neighbour_cache_MB", "remember"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("final_learning_rate_fraction", "plateau_factor"):
            _require(0 < getattr(self, name) <= 1, name, getattr(self, name), "in (0, 1]")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "in [0, 1)")
        for name in ("max_atoms", "max_edges", "gradient_clip", "patience", "time_limit_minutes"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "above 0, or left out")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, every default resolved."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _require(fulfilled: bool, name: str, value: object, wanted: str) -> None:
    if not fulfilled:
        raise OptionError("E-OPTION-RANGE", f"{name} is {value}", fix=f"it must be {wanted}")
