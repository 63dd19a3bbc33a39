"""What a check of a data set says: findings, and whether it could look at all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: a model would learn something wrong, or its test would lie · warning: look before training · note: know it."""


@dataclass(frozen=True)
class Finding:
    """One thing found in a data set.

    code stable across releases · what is found, in words · frames the records it concerns, by their index in the set
    that was checked, the worst first · numbers what was measured, units in the names · why it matters · fix what to do.
    """

    code: str
    severity: Severity
    what: str
    frames: tuple[int, ...] = ()
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)
    why: str = ""
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "frames": list(self.frames), "numbers": dict(self.numbers)}


@dataclass(frozen=True)
class Checked:
    """What one check looked at and found.

    said: what was examined and how it came out, or, where `done` is false, why nothing could be: a check that could not
    look has not passed. points: pairs of numbers that should lie on a line through 0 with slope 1, for a picture.
    """

    check: str
    said: str
    done: bool = True
    findings: tuple[Finding, ...] = ()
    points: tuple[tuple[float, float], ...] = ()

    @property
    def verdict(self) -> str:
        """The worst finding's severity, "pass" without one, "not checked" where nothing could be examined."""
        found = {finding.severity for finding in self.findings}
        worst = next((severity for severity in SEVERITIES if severity in found), "pass")
        return worst if self.done or worst != "pass" else "not checked"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"check": self.check, "verdict": self.verdict, "said": self.said}


def not_checked(check: str, because: str) -> Checked:
    """A check that had nothing to look at."""
    return Checked(check, f"not checked: {because}", done=False)


def listed(frames: Sequence[int], most: int = 8) -> str:
    """Frame numbers for a sentence."""
    return ", ".join(str(i) for i in frames[:most]) + (f" and {len(frames) - most} more" if len(frames) > most else "")
