"""What a law answers: one number against one tolerance, with its unit and where it was worst."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class LawResult:
    """Verdict of one law on one potential.

    passed     True, False, or None where the law does not apply; `detail` then says why
    measured   the worst deviation found, in `unit`; NaN where nothing was measured (the law raised or does not apply)
    tolerance  the largest `measured` that passes, in `unit`
    """

    law: str
    passed: bool | None
    measured: float
    tolerance: float
    unit: str
    detail: str = ""


@dataclass(frozen=True)
class Deviation:
    """How far one quantity of one specimen is from what a law demands."""

    quantity: str
    specimen: str
    value: float
    tolerance: float
    unit: str

    @property
    def severity(self) -> float:
        """Value in tolerances; a value that is not finite is worse than any that is."""
        return self.value / self.tolerance if math.isfinite(self.value) else math.inf


def verdict(law: str, deviations: Sequence[Deviation], note: str = "") -> LawResult:
    """The worst deviation judges the law; `detail` names the worst specimen of every quantity."""
    worst = max(deviations, key=lambda deviation: deviation.severity)
    lines = []
    for quantity in dict.fromkeys(deviation.quantity for deviation in deviations):
        found = max((d for d in deviations if d.quantity == quantity), key=lambda d: d.severity)
        lines.append(f"{quantity} {found.value:.1e} {found.unit} ({found.specimen})")
    if note:
        lines.append(note)
    return LawResult(law, worst.severity <= 1, worst.value, worst.tolerance, worst.unit, "; ".join(lines))


def does_not_apply(law: str, reason: str) -> LawResult:
    """A law that says nothing about this potential; counted and shown, never hidden."""
    return LawResult(law, None, math.nan, math.nan, "", reason)


def as_table(results: Iterable[LawResult]) -> list[dict[str, str | float | bool | None]]:
    """One plain row per law, ready for JSON, a terminal or markdown; a number that is not finite becomes None."""
    words = {True: "pass", False: "FAIL", None: "does not apply"}
    rows = []
    for result in results:
        row: dict[str, str | float | bool | None] = {"verdict": words[result.passed], **asdict(result)}
        rows.append({k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()})
    return rows
