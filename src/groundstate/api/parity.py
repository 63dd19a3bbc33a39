"""The same number on every path: one model asked about a user's structures in every way there is to ask it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from groundstate.api.sources import LoadedModel, Source, load, systems
from groundstate.api.ways import Asked, NotHere, Way, every_way, single
from groundstate.atoms import Allowances, DataError, GroundstateError, OptionError, System, judge
from groundstate.laws.noise import energy_noise, force_noise, precision_of
from groundstate.laws.precision import Precision
from groundstate.laws.specimens import prepare
from groundstate.simulation import Callback, Progress, silent

QUANTITIES = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}


@dataclass(frozen=True)
class Tolerances:
    """Largest deviations that pass, eV/atom, eV/Å, eV/Å³. What is not given follows from the precision of the model and
    the scale of each structure, see `laws/precision.py`: a hundred roundings of a network, no more."""

    energy: float | None = None
    forces: float | None = None
    stress: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise OptionError("E-OPTION-RANGE", f"a tolerance of {value} for {name}", fix="give a positive number")


@dataclass(frozen=True)
class Deviation:
    """The worst of one quantity on one path: its value, what it was allowed there, and the structure it happened in."""

    value: float
    tolerance: float
    structure: int

    @property
    def severity(self) -> float:
        """Value in tolerances; infinite when it is no number."""
        return self.value / self.tolerance if math.isfinite(self.value) else math.inf


@dataclass(frozen=True)
class PathResult:
    """One path against plain single evaluation; `passed` is `None` where it does not exist, and `detail` says why.

    worst   quantity → its worst deviation over the structures this path took (`structures` of them)
    """

    path: str
    passed: bool | None
    structures: int
    worst: Mapping[str, Deviation]
    detail: str = ""


@dataclass(frozen=True)
class Parity:
    """All paths of one model on one set of structures.

    refused   structures that no path was asked about: index → why
    noise     rounding of the smallest structure's energy (eV) and forces (eV/Å), measured: what no path can be below
    """

    model: str
    precision: str
    structures: int
    results: tuple[PathResult, ...]
    refused: Mapping[int, str]
    noise: Mapping[str, float]

    @property
    def passed(self) -> bool:
        """Whether no path deviates."""
        return all(result.passed is not False for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a deviation that is no number is `None`."""
        record = {**asdict(self), "passed": self.passed}
        for row in record["results"]:
            for worst in row["worst"].values():
                worst["value"] = worst["value"] if math.isfinite(worst["value"]) else None
        return record


def parity(
    source: Source,
    model: Any,
    *,
    tolerances: Tolerances | None = None,
    paths: Mapping[str, Way] | None = None,
    allow: Allowances | None = None,
    progress: Callback = silent,
) -> Parity:
    """Ask about every structure on every path and compare with one plain evaluation of it alone.

    paths   further ones by name, beside `ways.every_way`: an exported model, another program
    What the model refuses is left out and listed. A path that raises has failed, with the error as its detail. Raises
    DataError when nothing is left to ask about. Checked: tests/api/test_parity.py, with paths broken on purpose.
    """
    loaded, given = load(model), systems(source)
    verdicts = [judge(one, loaded.potential.domain, allow)[0].problems for one in given]
    refused = {i: str(problems[0]) for i, problems in enumerate(verdicts) if problems}
    kept = [i for i in range(len(given)) if i not in refused]
    if not kept:
        what = f"none of the {len(given)} structures can be asked about"
        raise DataError("E-NOTHING-LEFT", what, why=next(iter(refused.values()), "the source is empty"), fix="see why")
    structures = [given[i] for i in kept]
    precision = precision_of(loaded.potential, prepare(loaded.potential))
    expected = [answer for answer in single(loaded, structures) if answer is not None]
    every = {**every_way(allow), **(paths or {})}
    results = []
    for done, (name, path) in enumerate(every.items()):
        progress(Progress(done, len(every), "paths", name))
        results.append(_tried(name, path, loaded, structures, expected, precision, tolerances or Tolerances(), kept))
    progress(Progress(len(every), len(every), "paths"))
    smallest = min(structures, key=lambda one: one.n_atoms)
    noise = {
        "energy": energy_noise(loaded.potential, smallest),
        "forces": force_noise(loaded.potential, smallest),
    }
    return Parity(loaded.id, precision.name, len(given), tuple(results), refused, noise)


def _tried(
    name: str,
    path: Way,
    loaded: LoadedModel,
    structures: Sequence[System],
    expected: Sequence[Asked],
    precision: Precision,
    tolerances: Tolerances,
    indices: Sequence[int],
) -> PathResult:
    try:
        found = path(loaded, structures)
    except NotHere as reason:
        return PathResult(name, None, 0, {}, str(reason))
    except GroundstateError as error:
        return PathResult(name, False, 0, {}, str(error))
    except Exception as error:  # noqa: BLE001 — a path may be anyone's code, and its failure is the finding
        return PathResult(name, False, 0, {}, f"raised {type(error).__name__}: {error}")
    worst: dict[str, Deviation] = {}
    for index, system, answer, right in zip(indices, structures, found, expected, strict=True):
        for quantity, deviation in (
            [] if answer is None else _deviations(index, system, answer, right, precision, tolerances)
        ):
            if quantity not in worst or deviation.severity > worst[quantity].severity:
                worst[quantity] = deviation
    taken = sum(answer is not None for answer in found)
    if not taken:
        return PathResult(name, None, 0, {}, "it can take none of these structures")
    passed = all(deviation.severity <= 1 for deviation in worst.values())
    left = len(structures) - taken
    return PathResult(name, passed, taken, worst, f"it cannot take {left} of the structures" if left else "")


def _deviations(
    index: int, system: System, found: Asked, right: Asked, precision: Precision, given: Tolerances
) -> list[tuple[str, Deviation]]:
    """Of one structure. The scale is its largest force, at least 0.1 eV/Å, as in `laws/answers.py`."""
    n_atoms, scale = system.n_atoms, max(float(right.forces.abs().max()), 0.1)
    rounding = 64 * torch.finfo(torch.float64).eps * abs(right.energy) / n_atoms
    rows = [
        ("energy", abs(found.energy - right.energy) / n_atoms, given.energy or precision.energy * scale + rounding),
        ("forces", _largest(found.forces - right.forces), given.forces or precision.forces * scale),
    ]
    if right.stress is not None and found.stress is not None:
        volume = float(system.volume[0])
        stiff = max(scale * n_atoms, float(right.stress.abs().max()) * volume)
        rows.append(
            ("stress", _largest(found.stress - right.stress), given.stress or precision.forces * stiff / volume)
        )
    return [(name, Deviation(value, tolerance, index)) for name, value, tolerance in rows]


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if bool(torch.isfinite(values).all()) else math.inf
