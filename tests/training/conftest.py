"""Small data sets, made once."""

import pytest

from groundstate.data import Record
from training.specimens import copper


@pytest.fixture(scope="session")
def records() -> list[Record]:
    """24 frames to learn from."""
    return copper(24, seed=1)


@pytest.fixture(scope="session")
def held_out() -> list[Record]:
    """8 frames to judge by."""
    return copper(8, seed=2)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs write a stub for each picture: drawing takes a second, and test_pictures.py does it."""
    for drawn in ("runs.parity", "report.learning_curve"):
        monkeypatch.setattr(f"groundstate.training.{drawn}", lambda given: b"a picture")
