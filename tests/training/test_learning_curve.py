"""Planted curves are found again, and what is no curve is not extrapolated."""

import math

import numpy as np
import pytest

from groundstate.training.learning_curve import fit_learning_curve

SIZES = [10, 10, 10, 20, 20, 20, 50, 50, 100]


def planted(a: float, b: float, c: float, noise: float) -> list[float]:
    generator = np.random.default_rng(7)
    return [float((c + a * n**-b) * np.exp(noise * generator.standard_normal())) for n in SIZES]


def test_a_planted_power_law() -> None:
    curve = fit_learning_curve(SIZES, planted(2.0, 0.5, 0.0, 0.05))
    assert curve.problem == ""
    assert curve.exponent.low < 0.5 < curve.exponent.high
    assert curve.exponent.high - curve.exponent.low < 0.2
    predicted = curve.at(400.0)
    assert predicted.low < 2.0 * 400**-0.5 < predicted.high
    needed = curve.needed(0.1)
    assert needed.low < 400 < needed.high
    assert needed.value == pytest.approx(400, rel=0.4)


def test_a_floor_is_found_and_never_crossed() -> None:
    curve = fit_learning_curve(SIZES, planted(5.0, 1.0, 0.1, 0.01))
    assert curve.parameters[2] == pytest.approx(0.1, abs=0.03)
    assert math.isinf(curve.needed(0.02).value)


def test_what_is_no_curve() -> None:
    flat = fit_learning_curve(SIZES, planted(1.0, 0.0, 0.0, 0.05))
    assert "do not fall" in flat.problem
    wild = fit_learning_curve(SIZES, planted(2.0, 0.5, 0.0, 0.8))
    assert "scatter" in wild.problem
    short = fit_learning_curve([10, 20], [1.0, 0.5])
    assert "2 sizes" in short.problem
