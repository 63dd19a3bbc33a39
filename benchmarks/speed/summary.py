"""From all samples to the figures of the tables: one number per contender and column, and its ratio."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

Measured = Mapping[str, Mapping[str, list[dict[str, Any]]]]
"""contender → case → its measurements, one for each round."""


@dataclass(frozen=True)
class Column:
    """A figure of a case: seconds → value in a unit."""

    title: str
    case: str
    value: Callable[[float, int], float]
    clock: str = "cpu"
    larger_is_better: bool = False


def _per_atom(seconds: float, atoms: int) -> float:
    return seconds / atoms * 1e6


def _milliseconds(seconds: float, _: int) -> float:
    return seconds * 1e3


COLUMNS = (
    Column("Si 8, MD step, ms", "dynamics Si 8", _milliseconds),
    Column("Si 8, ASE call, ms", "call Si 8", _milliseconds),
    *(Column(f"Si {n}, µs/atom", f"evaluate Si {n}", _per_atom) for n in (8, 64, 216, 512, 1000, 4096, 13824, 97336)),
    *(Column(f"SrTiO3 {n}, µs/atom", f"evaluate SrTiO3 {n}", _per_atom) for n in (40, 135, 320, 1080)),
    Column("1 element 135, µs/atom", "evaluate 1 element 135", _per_atom),
    Column("6 elements 135, µs/atom", "evaluate 6 elements 135", _per_atom),
    Column("small crystals, /s", "crystals small crystals", lambda s, _: 20 / s, larger_is_better=True),
    Column("training, structures/s", "train training batch", lambda s, _: 8 / s, larger_is_better=True),
    Column("Si 216, MD step, skin 1 Å, ms", "dynamics Si 216, skin 1", _milliseconds),
    Column("Si 216, MD step, no skin, ms", "dynamics Si 216, skin 0", _milliseconds),
)
MEMORY = "memory, KB/atom"
THREADS = "speed of two threads"
_SLOPE_FROM = 64
"""Atoms below which memory is mostly what a process needs anyway."""


def grouped(measurements: list[dict[str, Any]]) -> Measured:
    """By contender and case, failures left out."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for one in measurements:
        if "cpu" in one:
            found[one["contender"]][one["case"]].append(one)
    return found


def summarise(measured: Measured) -> dict[str, dict[str, dict[str, float]]]:
    """contender → column → {best, median, and, where the reference was measured, ratio and ratio_of_medians}.

    Best and median are of all samples of all rounds. A ratio says how many times better than malloc-tuned mace-torch:
    of the same shape and number type, for others of the medium shape in float32.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for contender, cases in measured.items():
        row = found.setdefault(contender, {})
        for column in COLUMNS:
            if column.case in cases:
                samples = [s for one in cases[column.case] for s in one[column.clock]]
                atoms = cases[column.case][0]["atoms"]
                row[column.title] = {
                    "best": column.value(min(samples), atoms),
                    "median": column.value(median(samples), atoms),
                }
        if slope := _memory_slope(cases):
            row[MEMORY] = {"best": slope, "median": slope}
    _add_threads(found, measured)
    for contender, row in found.items():
        reference = found.get(reference_of(contender), {})
        for title, figure in row.items():
            if title in reference and title != THREADS:
                sign = -1 if any(c.title == title and c.larger_is_better for c in COLUMNS) else 1
                figure["ratio"] = (reference[title]["best"] / figure["best"]) ** sign
                figure["ratio_of_medians"] = (reference[title]["median"] / figure["median"]) ** sign
    return found


def reference_of(contender: str) -> str:
    """The contender it is compared with."""
    who, *rest = contender.split("-")
    if who in ("ours", "mace"):
        kept = [part for part in rest if part != "tuned" and not part.endswith("threads") and part != "2"]
        return "-".join(["mace", *kept, "tuned"])
    return "mace-medium-float32-tuned"


def memory_of(cases: Mapping[str, list[dict[str, Any]]]) -> list[tuple[int, float]]:
    """(atoms, MB beyond what the loaded process held) of silicon, in the first round."""
    return sorted(
        (found[0]["atoms"], found[0]["memory_peak_MB"] - found[0]["loaded_MB"])
        for case, found in cases.items()
        if case.startswith("evaluate Si ")
    )


def _memory_slope(cases: Mapping[str, list[dict[str, Any]]]) -> float | None:
    """KB/atom, by least squares."""
    points = [(atoms, used) for atoms, used in memory_of(cases) if atoms >= _SLOPE_FROM]
    if len(points) < 2:
        return None
    atoms, used = np.array(points).T
    return float(np.polyfit(atoms, used, 1)[0] * 1e3)


def _add_threads(found: dict[str, dict[str, dict[str, float]]], measured: Measured) -> None:
    """Wall time of one thread over that of two."""
    case = "evaluate Si 216"
    for contender, cases in measured.items():
        alone = contender.removesuffix("-2-threads")
        if alone != contender and case in cases and case in measured.get(alone, {}):
            one, two = ([s for m in measured[who][case] for s in m["wall"]] for who in (alone, contender))
            found[alone][THREADS] = {"best": min(one) / min(two), "median": median(one) / median(two)}
