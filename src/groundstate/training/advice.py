"""What two learning curves say: in numbers, and in a sentence a person can act on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from groundstate.training.learning_curve import FURTHEST, Interval, LearningCurve, fit_learning_curve

WAYS = ("fine-tuning", "from scratch")
_NO_DIFFERENCE = 1.1
"""Ratio of errors below which neither way is called better."""


@dataclass(frozen=True)
class Point:
    """One fit: which way, on how many structures, of which repeat; its error (RMSE) and how long it took."""

    way: str
    size: int
    repeat: int
    error: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Advice:
    """Measured errors, their curves, and what follows.

    quantity  whose RMSE is meant, and its `unit` · untrained: error of the base as it is, its zero of energy aside
    sentence  the conclusion for people · needed: of the better way, to reach `wanted` (`None`: no extrapolation)
    """

    quantity: str
    unit: str
    points: tuple[Point, ...]
    untrained: float
    frames: int
    wanted: float
    needed: Interval | None
    cpu_hours_per_label: float | None
    sentence: str

    def curve(self, way: str) -> LearningCurve:
        """The learning curve of one way."""
        return _curve(self.points, way)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what is infinite or was not found is `None`."""
        curves = {}
        for way in WAYS:
            curve = self.curve(way)
            a, b, c = curve.parameters
            predicted = {str(n): _plain(curve.at(float(n))) for n in (200, 500, 1000) if not curve.problem}
            curves[way] = {"a": a, "b": b, "c": c, "problem": curve.problem, "predicted": predicted}
        found = {**asdict(self), "curves": curves}
        found["needed"] = None if self.needed is None else _plain(self.needed)
        return found

    def __str__(self) -> str:
        lines = [
            f"{'structures':>10}" + "".join(f"{way:>16}" for way in WAYS) + f"   ({self.quantity} RMSE, {self.unit})"
        ]
        for size in sorted({point.size for point in self.points}):
            means = [_mean(self.points, way, size) for way in WAYS]
            lines.append(f"{size:>10}" + "".join(f"{mean:>16.4g}" for mean in means))
        return "\n".join([*lines, self.sentence])


def conclude(
    points: Sequence[Point],
    quantity: str,
    unit: str,
    untrained: float,
    n_pool: int,
    wanted: float | None,
    cpu_hours: float | None,
) -> Advice:
    """What the points say, in numbers and in words."""
    largest = max(point.size for point in points)
    errors = {way: _mean(points, way, largest) for way in WAYS}
    better = min(WAYS, key=errors.__getitem__)
    wanted = wanted or 0.5 * errors[better]
    curve = _curve(points, better)
    needed = None if curve.problem else curve.needed(wanted)
    words = [_choice(errors, untrained, largest, unit), _outlook(curve, needed, wanted, errors[better], unit)]
    if needed is not None and errors[better] > wanted and math.isfinite(needed.value):
        words.append(_cost(needed, largest, n_pool, cpu_hours))
    sentence = " ".join(word for word in words if word)
    return Advice(quantity, unit, tuple(points), untrained, n_pool, wanted, needed, cpu_hours, sentence)


def _choice(errors: Mapping[str, float], untrained: float, largest: int, unit: str) -> str:
    tuned, scratch = (errors[way] for way in WAYS)
    told = f"with {largest} structures the error is {tuned:.3g} {unit} fine-tuned and {scratch:.3g} from scratch"
    if untrained <= min(tuned, scratch):
        return f"Keep the base as it is: its error is {untrained:.3g} {unit}; {told}."
    ratio = max(tuned, scratch) / min(tuned, scratch)
    if ratio < _NO_DIFFERENCE:
        return f"Neither way is clearly better: {told}."
    return f"Choose {'to fine-tune' if tuned < scratch else 'to train from scratch'}: {told}, a factor of {ratio:.2g}."


def _outlook(curve: LearningCurve, needed: Interval | None, wanted: float, now: float, unit: str) -> str:
    if now <= wanted:
        return f"{wanted:.3g} {unit} is reached already."
    if needed is None:
        sizes = ", ".join(str(size) for size in sorted(set(curve.sizes)))
        return f"How many structures {wanted:.3g} {unit} needs cannot be extrapolated from {sizes}: {curve.problem}."
    limit = FURTHEST * max(curve.sizes)
    if not needed.value <= limit:
        return f"{wanted:.3g} {unit} is not within reach: the curve needs more than {limit:.0f} structures for it."
    high = f"{needed.high:.0f}" if needed.high <= limit else f"more than {limit:.0f}"
    return f"{wanted:.3g} {unit} needs about {needed.value:.0f} structures (90 %: {needed.low:.0f} to {high})."


def _cost(needed: Interval, largest: int, n_pool: int, cpu_hours: float | None) -> str:
    more = max(0, math.ceil(needed.value) - n_pool)
    if needed.value > FURTHEST * largest:
        return ""
    if more == 0:
        return "They are there."
    if cpu_hours is None:
        return f"That is {more} more than there are to learn from; state the CPU hours of one to know their cost."
    cost = f"{more * cpu_hours:.3g} CPU hours at {cpu_hours:.3g} each"
    return f"That is {more} more than there are to learn from: {cost}."


def _curve(points: Sequence[Point], way: str) -> LearningCurve:
    mine = [point for point in points if point.way == way]
    return fit_learning_curve([point.size for point in mine], [point.error for point in mine])


def _mean(points: Sequence[Point], way: str, size: int) -> float:
    """Geometric, as errors of repeats spread."""
    logs = [math.log(point.error) for point in points if (point.way, point.size) == (way, size)]
    return math.exp(sum(logs) / len(logs))


def _plain(interval: Interval) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in asdict(interval).items()}
