"""What a finished run hands back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundstate.potentials import Potential
from groundstate.training.certificate import Certificate
from groundstate.training.error_table import ErrorTable


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained model and the evidence for it.

    path of the model file · potential with the best averaged weights · best: validation metrics it was chosen by ·
    history: one line per evaluation · before, after: errors on the validation frames · stopped: "epochs", "patience" or
    "time limit" · certificate: of a tuned model.
    """

    path: Path
    potential: Potential
    best: Mapping[str, float]
    history: tuple[Mapping[str, Any], ...]
    before: ErrorTable
    after: ErrorTable
    stopped: str
    seconds: float
    certificate: Certificate | None = None

    @property
    def worse(self) -> tuple[str, ...]:
        """Errors whose RMSE training made larger; a run with any of them has not simply improved the model."""
        both = self.before.rows.keys() & self.after.rows.keys()
        return tuple(sorted(name for name in both if self.after[name].rmse > self.before[name].rmse))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without history and weights."""
        return {
            "model": str(self.path),
            "best": dict(self.best),
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "worse": list(self.worse),
            "stopped": self.stopped,
            "seconds": self.seconds,
            **({} if self.certificate is None else {"certificate": self.certificate.summary()}),
        }

    def __str__(self) -> str:
        story = [f"{self.path}  (stopped: {self.stopped}, {self.seconds:.0f} s)", "before", str(self.before)]
        verdict = [f"WORSE than before: {', '.join(self.worse)}"] if self.worse else []
        if self.certificate is not None:
            verdict.append(str(self.certificate))
        return "\n".join([*story, "after", str(self.after), *verdict])
