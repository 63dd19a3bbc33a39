"""Error against number of structures: a power law with or without a floor, its intervals, and when it says nothing.

    ε(n) = c + a n^(−b),  a, b > 0, c ≥ 0

Learning curves of potentials fall as powers of the number of structures until a floor of model, labels or
representation: Cortes et al., NIPS 1993; Faber et al., J. Chem. Phys. 148, 241717 (2018).
Checked: tests/training/test_learning_curve.py
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FURTHEST = 10.0
"""Times the largest measured number: beyond it no number of structures is predicted."""
LEVEL = 0.9
"""Share of the bootstrap within an interval."""
_SAMPLES, _FLOORS = 400, 25
_LARGEST_SCATTER = 0.35
"""Of the logarithm of the error about the curve: with more, the measurements do not make a curve."""


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its interval (`LEVEL` of the bootstrap); infinite where it is never reached."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """A fitted curve and its bootstrap; `problem` says why it must not be extrapolated, "" when it may.

    parameters   a, b, c of the fit · samples: of the bootstrap, one row each · scatter of log ε about the curve
    """

    sizes: tuple[int, ...]
    errors: tuple[float, ...]
    parameters: tuple[float, float, float]
    samples: Float[np.ndarray, "sample 3"]
    scatter: float
    problem: str

    def at(self, n: float) -> Interval:
        """The error at n structures."""
        values = _curve(self.samples, n)
        return Interval(float(_curve(np.array([self.parameters]), n)[0]), *_ends(values))

    def needed(self, error: float) -> Interval:
        """The structures at which the error is reached."""
        counts = _inverse(self.samples, error)
        return Interval(float(_inverse(np.array([self.parameters]), error)[0]), *_ends(counts))

    @property
    def exponent(self) -> Interval:
        """b"""
        return Interval(self.parameters[1], *_ends(self.samples[:, 1]))


def fit_learning_curve(sizes: Sequence[int], errors: Sequence[float], seed: int = 0) -> LearningCurve:
    """The curve through measured errors, several of which may be of one size.

    A floor is admitted only where it describes the points clearly better (corrected Akaike criterion). The bootstrap
    draws residuals of the logarithms, widened for the fitted parameters, and fits again.
    """
    n, log_e = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(errors, dtype=float))
    distinct = len(set(sizes))
    if distinct < 3:
        few = f"errors at {distinct} sizes do not make a curve"
        return LearningCurve(tuple(sizes), tuple(errors), (float(np.exp(log_e.mean())), 0.0, 0.0), _none(), 0.0, few)
    floored = _better_with_floor(n, log_e)
    parameters = _fit(n, log_e, floored)
    residuals = log_e - np.log(_curve(parameters[None], np.exp(n)))
    freedom = max(1, len(n) - 2 - floored)
    scatter = float(np.sqrt((residuals**2).sum() / freedom))
    generator = np.random.default_rng(seed)
    wider = residuals * np.sqrt(len(n) / freedom)
    fitted = log_e - residuals
    samples = np.array([_fit(n, fitted + generator.choice(wider, len(n)), floored) for _ in range(_SAMPLES)])
    low, _ = _ends(samples[:, 1])
    problem = ""
    if scatter > _LARGEST_SCATTER:
        problem = f"errors scatter by {100 * scatter:.0f} % about the curve"
    elif low <= 0:
        problem = "errors do not fall reliably with more structures"
    return LearningCurve(tuple(sizes), tuple(errors), tuple(parameters.tolist()), samples, scatter, problem)


def _none() -> np.ndarray:
    return np.zeros((0, 3))


def _curve(parameters: np.ndarray, n: float | np.ndarray) -> np.ndarray:
    a, b, c = parameters.T
    return c + a * np.asarray(n, dtype=float) ** -b


def _inverse(parameters: np.ndarray, error: float) -> np.ndarray:
    a, b, c = parameters.T
    with np.errstate(all="ignore"):
        counts = ((error - c) / a) ** (-1 / b)
    return np.where((error > c) & (b > 0), counts, np.inf)


def _fit(n: np.ndarray, log_e: np.ndarray, floored: bool) -> np.ndarray:
    """a, b, c of least squares in the logarithm; c on a grid between 0 and the smallest error."""
    floors = np.linspace(0, 0.98, _FLOORS) * np.exp(log_e.min()) if floored else np.zeros(1)
    best, lowest = np.zeros(3), np.inf
    for c in floors:
        slope, level = np.polyfit(n, np.log(np.exp(log_e) - c), 1)
        parameters = np.array([np.exp(level), -slope, c])
        misfit = float(((log_e - np.log(_curve(parameters[None], np.exp(n)))) ** 2).sum())
        if misfit < lowest:
            best, lowest = parameters, misfit
    return best


def _better_with_floor(n: np.ndarray, log_e: np.ndarray) -> bool:
    m = len(n)

    def criterion(floored: bool) -> float:
        k = 3 + floored  # the variance counts
        if m - k - 1 <= 0:
            return np.inf
        misfit = ((log_e - np.log(_curve(_fit(n, log_e, floored)[None], np.exp(n)))) ** 2).sum()
        return float(m * np.log(max(misfit, 1e-12) / m) + 2 * k + 2 * k * (k + 1) / (m - k - 1))

    return criterion(True) < criterion(False) - 2


def _ends(values: np.ndarray) -> tuple[float, float]:
    if len(values) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return float(low), float(high)
