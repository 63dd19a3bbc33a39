"""Sets with published errors, and how their frames are divided: nothing here depends on how a model is trained."""

import fnmatch
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from groundstate.data import Record, read, split
from groundstate.data.lint.duplicates import check_leaks_between
from groundstate.data.lint.frames import Frames

LABELS = ("energy", "forces")
"""What is taught and compared. Stresses are left out: those of copper, nickel and molybdenum in mlearn have yz and xz
exchanged (`groundstate data check` finds it), and no published table here has them."""
SEED_OF_SPLIT = 0
"""One split for all seeds of a model: the spread over seeds is that of weights and batches alone."""


@dataclass(frozen=True)
class Part:
    """Frames that judge, with the errors to reach and the published ones, by quantity, in meV (or meV/atom), meV/Å."""

    file: str
    groups: tuple[str, ...] = ()
    floor: Mapping[str, float] = field(default_factory=dict)
    aim: Mapping[str, float] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))


@dataclass(frozen=True)
class PublishedSet:
    """One entry of sets.toml, whose head says what the fields mean."""

    title: str
    recipe: str
    train: str
    valid: float
    error: str
    energy: str
    tests: Mapping[str, Part]
    groups: tuple[str, ...] = ()
    start: str = ""
    first: int | None = None
    subsets: Mapping[int, float] = field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        object.__setattr__(self, "subsets", {int(n): float(minutes) for n, minutes in self.subsets.items()})
        for name, value, known in (
            ("error", self.error, ("rmse", "mae")),
            ("energy", self.energy, ("structure", "atom")),
        ):
            if value not in known:
                raise ValueError(f"{self.title}: {name} is '{value}', not one of {', '.join(known)}")

    @property
    def files(self) -> tuple[str, ...]:
        """All that are read, each once."""
        return tuple(dict.fromkeys([self.train, *(part.file for part in self.tests.values())]))


@dataclass(frozen=True)
class Division:
    """The division of one set; `copies`: by test part, the indices of its frames that are rotated, reflected or
    slightly moved copies of frames to learn or to choose from."""

    train: list[Record]
    valid: list[Record]
    tests: Mapping[str, list[Record]]
    copies: Mapping[str, tuple[int, ...]]


def load_sets(file: Path) -> dict[str, PublishedSet]:
    """By name."""
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        name: PublishedSet(**{**entry, "tests": {key: Part(**part) for key, part in entry["tests"].items()}})
        for name, entry in document.items()
    }


def divide(chosen: PublishedSet, data: Path, frames: int | None = None) -> Division:
    """Read and divide. The frames to learn from are in random order, so that smaller `frames` are nested subsets; the
    validation frames stay the same. A structure that is both taught and judged by is refused."""
    read_files = {file: read(data / file).records for file in chosen.files}
    pool = _only(read_files[chosen.train], chosen.groups)[: chosen.first]
    share = chosen.valid if chosen.valid < 1 else chosen.valid / len(pool)
    train, valid = split(pool, (1 - share, share), SEED_OF_SPLIT)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED_OF_SPLIT)).tolist()
    if frames is not None and frames > len(order):
        raise ValueError(f"{chosen.title}: {frames} frames were asked for, and there are {len(order)} to learn from")
    tests = {name: _only(read_files[part.file], part.groups) for name, part in chosen.tests.items()}
    known = Frames.of(pool)
    copies = {name: _copies(own, known) for name, own in tests.items()}
    return Division([train[i] for i in order[:frames]], list(valid), tests, copies)


def hashes(chosen: PublishedSet, data: Path) -> dict[str, str]:
    """SHA-256 of every file that is read."""
    return {file: hashlib.sha256((data / file).read_bytes()).hexdigest() for file in chosen.files}


def _only(records: Sequence[Record], groups: Sequence[str]) -> list[Record]:
    """Those of some groups, all where none is named, with the labels that are compared."""
    kept = [r for r in records if not groups or _fits(r.provenance.tags.get("group", ""), groups)]
    return [replace(record, labels={name: record.labels[name] for name in LABELS}) for record in kept]


def _fits(group: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(group, pattern) for pattern in patterns)


def _copies(tests: Sequence[Record], known: Frames) -> tuple[int, ...]:
    """Test frames that have a near copy among those known; an exact one is refused."""
    findings = {finding.code: finding for finding in check_leaks_between(Frames.of(tests), known).findings}
    if "L-LEAK" in findings:
        raise ValueError(f"test frames {findings['L-LEAK'].frames} are among the frames to learn from")
    return tuple(sorted(findings["L-NEAR-LEAK"].frames)) if "L-NEAR-LEAK" in findings else ()
