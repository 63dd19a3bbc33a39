"""From sums over components to the numbers of the log."""

from collections.abc import Iterable, Mapping
from math import sqrt

from groundstate.atoms import quantities

METERS = 4
"""Sums kept per part: loss, squares, absolutes, count."""


def no_sums(names: Iterable[str]) -> dict[str, list[float]]:
    """Nothing measured yet."""
    return {name: [0.0] * METERS for name in names}


def summarise(sums: Mapping[str, list[float]], weights: Mapping[str, float]) -> dict[str, float]:
    """Total loss, and RMSE and MAE of every part that was measured; names say whether they are per atom."""
    found = {"loss": 0.0}
    for name, (loss, squares, absolutes, count) in sums.items():
        if count == 0:
            continue
        row = quantities().get(name)
        label = f"{name}_per_atom" if row is not None and row.extensive else name
        found["loss"] += weights[name] * loss / count
        found[f"{label}_rmse"], found[f"{label}_mae"] = sqrt(squares / count), absolutes / count
    return found
