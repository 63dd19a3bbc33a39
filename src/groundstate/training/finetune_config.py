"""How a base is tuned, and what the amount of data says about it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from groundstate.atoms import OptionError, nearest

METHODS = ("full", "heads", "lora")
REPLAY_SHARE = 0.5
_STEPS, _FEWEST_EPOCHS = 1500, 20
"""Of fine-tuning, not counting replay; many structures are all seen `_FEWEST_EPOCHS` times."""


@dataclass(frozen=True)
class FinetuneConfig:
    """What of a base may move, and what it shall not forget.

    method        "full": all weights; "heads": the trunk is frozen; "lora": matrices of channels turn in `rank`
                  directions, heads are free, all else is frozen. A model that is not ours gets a correction instead,
                  whose weights are all free: "full".
    rank, alpha   r and α of W + (α/r) A B; a matrix has at most half its smaller side as rank
    replay_share  of the structures of an epoch on which the base's own predictions are kept; 0 for none
    replay_frames  structures for it, a fifth of which are only judged by
    """

    method: str = "full"
    rank: int = 4
    alpha: float = 4.0
    replay_share: float = 0.0
    replay_frames: int = 250

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise OptionError("E-OPTION-CHOICE", f"method cannot be '{self.method}'", fix=nearest(self.method, METHODS))
        for name, holds, wanted in (
            ("rank", self.rank >= 1, "at least 1"),
            ("alpha", self.alpha > 0, "above 0"),
            ("replay_share", 0 <= self.replay_share <= 0.9, "in [0, 0.9]"),
            ("replay_frames", self.replay_frames >= 5, "at least 5"),
        ):
            if not holds:
                raise OptionError("E-OPTION-RANGE", f"{name} is {getattr(self, name)}", fix=f"it must be {wanted}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """Options for an amount of data: of `FinetuneConfig` and of `TrainConfig`."""

    finetune: Mapping[str, Any]
    train: Mapping[str, Any]


def choose(n_frames: int, *, continued: bool, method: str = "full") -> Choice:
    """Options for `n_frames` labelled structures; `continued`: a model of our own, else a correction is trained.

    Measured on MgO (docs/finetuning.md): all weights rather than adapters, which forgot more at the same error; half
    replay; a rate a tenth of that from scratch, because one of a quarter forgot ten times as much. Adapters and heads
    are small matrices, which go by Adam: a quarter for them, as published for MACE (ELoRA: 0.005, averages over some
    hundred steps). Steps rather than passes are kept: few structures need as many as some more. The average of weights
    reaches over three epochs, at least a hundred steps.
    """
    batch = _batch(n_frames)
    per_epoch = ceil(n_frames / batch)
    train: dict[str, Any] = {"batch_size": batch, "epochs": max(_FEWEST_EPOCHS, ceil(_STEPS / per_epoch))}
    if not continued:
        return Choice({"method": "full", "replay_share": 0.0}, train)
    reach = 3 * per_epoch / (1 - REPLAY_SHARE)
    rate = 0.002 if method == "full" else 0.005
    train |= {"learning_rate": rate, "ema_decay": min(0.999, max(0.99, 1 - 1 / reach))}
    return Choice({"method": "full", "replay_share": REPLAY_SHARE}, train)


def from_scratch(n_frames: int) -> dict[str, Any]:
    """Options of `TrainConfig` for a model that knows nothing yet: as many steps as fine-tuning with its replay."""
    batch = _batch(n_frames)
    passes = max(_FEWEST_EPOCHS, _STEPS / ceil(n_frames / batch)) / (1 - REPLAY_SHARE)
    return {"batch_size": batch, "epochs": ceil(passes)}


def _batch(n_frames: int) -> int:
    return min(n_frames, 2 if n_frames < 25 else 4)
