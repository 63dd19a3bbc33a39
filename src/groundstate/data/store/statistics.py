"""What a store holds, in numbers gathered while it is written: exact sums and extremes, and medians to one per cent."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms import LevelOfTheory, Quantity, quantities, quantity
from groundstate.data.report import LabelReport, LabelRow
from groundstate.data.store.columns import LABEL, Filled

Name = TypeVar("Name", int, str)

N_QUANTILES = 101
"""Points of the distribution that a shard keeps of each label: its percentiles."""


@dataclass(frozen=True)
class Spread:
    """Distribution of one label: of scalars the values, of vectors and tensors the norms; of the energy per atom.

    frames that have it · count of values · mean, and sum of squared deviations from it · quantiles: evenly spaced from
    the smallest to the largest, each with the weight of the values between two of them.
    """

    frames: int
    count: int
    mean: float
    squares: float
    quantiles: tuple[tuple[int, tuple[float, ...]], ...]

    @property
    def minimum(self) -> float:
        """The smallest value."""
        return min(points[0] for _, points in self.quantiles)

    @property
    def maximum(self) -> float:
        """The largest value."""
        return max(points[-1] for _, points in self.quantiles)

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return sqrt(self.squares / self.count)

    @property
    def median(self) -> float:
        """Of the shards' percentiles by weight: exact in one shard, within one per cent of the ranks over several."""
        if len(self.quantiles) == 1:
            return self.quantiles[0][1][N_QUANTILES // 2]
        points = np.concatenate([values for _, values in self.quantiles])
        weights = np.concatenate([np.full(len(values), count / len(values)) for count, values in self.quantiles])
        order = np.argsort(points)
        reached = np.cumsum(weights[order])
        return float(points[order][np.searchsorted(reached, reached[-1] / 2)])

    def __add__(self, other: "Spread") -> "Spread":
        count = self.count + other.count
        shift = other.mean - self.mean
        return Spread(
            self.frames + other.frames,
            count,
            self.mean + shift * other.count / count,
            self.squares + other.squares + shift**2 * self.count * other.count / count,
            self.quantiles + other.quantiles,
        )


@dataclass(frozen=True)
class Statistics:
    """Of a shard, or of several added.

    sizes: atoms → frames of that size · elements: atomic number → (frames, atoms) · pbc: "TTF" → frames · conditions:
    "charge 1" → frames · keys: quantity → key → frames read under it · levels: id → (level of theory, frames) · files →
    frames.
    """

    frames: int = 0
    atoms: int = 0
    sizes: Mapping[int, int] = field(default_factory=dict)
    elements: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    pbc: Mapping[str, int] = field(default_factory=dict)
    conditions: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, Spread] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    levels: Mapping[str, tuple[LevelOfTheory, int]] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Statistics") -> "Statistics":
        spreads = dict(self.labels)
        for name, spread in other.labels.items():
            spreads[name] = spreads[name] + spread if name in spreads else spread
        return Statistics(
            self.frames + other.frames,
            self.atoms + other.atoms,
            _added(self.sizes, other.sizes),
            _added_pairs(self.elements, other.elements),
            _added(self.pbc, other.pbc),
            _added(self.conditions, other.conditions),
            spreads,
            {name: _added(self.keys.get(name, {}), other.keys.get(name, {})) for name in {**self.keys, **other.keys}},
            {
                name: (level, self.levels.get(name, (level, 0))[1] + other.levels.get(name, (level, 0))[1])
                for name, (level, _) in {**self.levels, **other.levels}.items()
            },
            _added(self.files, other.files),
        )

    @property
    def unstated(self) -> int:
        """Frames that name no level of theory."""
        return self.frames - sum(frames for _, frames in self.levels.values())

    def report(self, notes: Sequence[str] = ()) -> LabelReport:
        """The table a reader prints."""
        rows = [
            _label_row(quantity(name), self.labels[name], self.keys.get(name, {}), self.frames)
            for name in quantities()
            if name in self.labels
        ]
        return LabelReport(tuple(rows), self.frames, tuple(notes))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is the inverse."""
        return {
            "frames": self.frames,
            "atoms": self.atoms,
            "sizes": {str(n_atoms): frames for n_atoms, frames in sorted(self.sizes.items())},
            "elements": {str(z): list(counts) for z, counts in self.elements.items()},
            "pbc": dict(self.pbc),
            "conditions": dict(self.conditions),
            "labels": {
                name: {
                    "frames": spread.frames,
                    "count": spread.count,
                    "mean": spread.mean,
                    "squares": spread.squares,
                    "quantiles": [[count, list(points)] for count, points in spread.quantiles],
                }
                for name, spread in self.labels.items()
            },
            "keys": {name: dict(counts) for name, counts in self.keys.items()},
            "levels": [[level.as_dict(), frames] for level, frames in self.levels.values()],
            "files": dict(self.files),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Statistics":
        """Inverse of `as_dict`."""
        levels = [(LevelOfTheory.from_dict(level), frames) for level, frames in record["levels"]]
        return cls(
            **{name: record[name] for name in ("frames", "atoms", "pbc", "conditions", "keys")},
            sizes={int(n_atoms): frames for n_atoms, frames in record["sizes"].items()},
            elements={int(z): tuple(counts) for z, counts in record["elements"].items()},
            labels={
                name: Spread(
                    **{key: spread[key] for key in ("frames", "count", "mean", "squares")},
                    quantiles=tuple((count, tuple(points)) for count, points in spread["quantiles"]),
                )
                for name, spread in record["labels"].items()
            },
            levels={level.id: (level, frames) for level, frames in levels},
            files=record["files"],
        )


def total(parts: Iterable[Statistics]) -> Statistics:
    """The statistics of all parts together."""
    return sum(parts, Statistics())


def statistics_of(
    filled: Mapping[str, Filled],
    levels: Sequence[LevelOfTheory],
    keys: Sequence[Mapping[str, str]],
    files: Sequence[str | None],
) -> Statistics:
    """Of the columns of one shard; `keys` and `files` have one entry per frame, `levels` is the table of the shard."""
    offsets = filled["positions"].offsets
    assert offsets is not None
    counts = np.diff(offsets).astype(np.int64)
    numbers = filled["numbers"].values.astype(np.int64)
    frame_of_atom = np.repeat(np.arange(len(counts)), counts)
    pairs, atoms = np.unique(np.stack([numbers, frame_of_atom]), axis=1, return_counts=True)
    elements = {
        int(z): (int((pairs[0] == z).sum()), int(atoms[pairs[0] == z].sum())) for z in np.unique(pairs[0]).tolist()
    }
    per_label: dict[str, Counter[str]] = {}
    for own in keys:
        for name, key in own.items():
            per_label.setdefault(name, Counter())[key] += 1
    return Statistics(
        frames=len(counts),
        atoms=len(numbers),
        sizes=dict(Counter(counts.tolist())),
        elements=elements,
        pbc=_counted("".join("FT"[flag] for flag in row) for row in filled["pbc"].values.reshape(-1, 3).tolist()),
        conditions=_conditions(filled),
        labels={
            name.removeprefix(LABEL): _spread(quantity(name.removeprefix(LABEL)), column, counts)
            for name, column in filled.items()
            if name.startswith(LABEL)
        },
        keys={name: dict(counter) for name, counter in per_label.items()},
        levels=_levels(filled.get("level"), levels),
        files=_counted(file for file in files if file is not None),
    )


def _levels(column: Filled | None, levels: Sequence[LevelOfTheory]) -> dict[str, tuple[LevelOfTheory, int]]:
    if column is None:
        return {}
    given = column.values if column.present is None else column.values[column.present]
    frames = np.bincount(given.astype(np.int64), minlength=len(levels)).tolist()
    return {level.id: (level, count) for level, count in zip(levels, frames, strict=True)}


def _conditions(filled: Mapping[str, Filled]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in ("charge", "multiplicity"):
        column = filled.get(name)
        if column is not None:
            given = column.values if column.present is None else column.values[column.present]
            found |= _counted(f"{name} {value:g}" for value in given.tolist())
    return found


def _spread(row: Quantity, column: Filled, atoms: NDArray[np.int64]) -> Spread:
    present = np.ones(len(atoms), dtype=bool) if column.present is None else column.present
    rows = column.values.astype(np.float64).reshape(-1, column.column.width)
    if row.per == "system":
        rows = rows[present]
    if row.extensive and row.shape == ():
        rows = rows / atoms[present][:, None]
    values = rows[:, 0] if row.shape == () else np.linalg.norm(rows, axis=1)
    mean = float(values.mean())
    points = np.quantile(values, np.linspace(0.0, 1.0, N_QUANTILES))
    return Spread(
        int(present.sum()),
        len(values),
        mean,
        float(((values - mean) ** 2).sum()),
        ((len(values), tuple(points.tolist())),),
    )


def _label_row(row: Quantity, spread: Spread, keys: Mapping[str, int], total_frames: int) -> LabelRow:
    note = "norm" if row.shape else ""
    if len(keys) > 1:
        note = "; ".join([*filter(None, [note]), "several keys: " + ", ".join(f"{k} {n}" for k, n in keys.items())])
    return LabelRow(
        row.name,
        dict(keys),
        spread.frames,
        total_frames,
        spread.minimum,
        spread.median,
        spread.maximum,
        row.unit + ("/atom" if row.extensive and row.shape == () else ""),
        note,
    )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values))


def _added(one: Mapping[Name, int], other: Mapping[Name, int]) -> dict[Name, int]:
    return dict(Counter(one) + Counter(other))


def _added_pairs(
    one: Mapping[int, tuple[int, int]], other: Mapping[int, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    none = (0, 0)
    return {
        z: (one.get(z, none)[0] + other.get(z, none)[0], one.get(z, none)[1] + other.get(z, none)[1])
        for z in sorted({*one, *other})
    }
