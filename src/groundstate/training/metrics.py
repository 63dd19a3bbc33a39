"""From sums over components to the numbers of the log."""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

import torch

from groundstate.atoms import quantities
from groundstate.training.aims import Part

METERS = 4
"""Sums kept per part: loss, squares, absolutes, count."""


def no_sums(names: Iterable[str]) -> dict[str, list[float]]:
    """Nothing measured yet."""
    return {name: [0.0] * METERS for name in names}


def add_sums(first: Mapping[str, list[float]], second: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Meter by meter."""
    return {name: [a + b for a, b in zip(first[name], second[name], strict=True)] for name in first}


class Meters:
    """Running sums over batches: `counts` here, `sums` [part, 3] on the device, so that nothing waits for them."""

    def __init__(self, names: Iterable[str], device: torch.device) -> None:
        self._names = tuple(names)
        self.counts = [0] * len(self._names)
        self.sums = torch.zeros(len(self._names), METERS - 1, dtype=torch.float64, device=device)

    def add(self, parts: Mapping[str, Part]) -> None:
        """One batch."""
        for row, name in enumerate(self._names):
            if name in parts and parts[name].count > 0:
                part = parts[name]
                self.sums[row] += torch.stack([part.loss.detach(), part.squares, part.absolutes])
                self.counts[row] += part.count

    def named(self, numbers: Sequence[float]) -> dict[str, list[float]]:
        """By part, from numbers that begin with all counts and go on with all sums."""
        n, each = len(self._names), METERS - 1
        counts, sums = numbers[:n], numbers[n:]
        return {name: [*sums[each * i : each * (i + 1)], counts[i]] for i, name in enumerate(self._names)}


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
