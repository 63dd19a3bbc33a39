"""Who is timed, on what, in which order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": "268435456"}
"""Keeps glibc from handing large temporaries back to the kernel: most peers gain, mace-torch up to 1.6 times."""
PACKAGES = {"mace": "mace-torch", "chgnet": "chgnet", "sevenn": "sevenn", "nequip": "nequip"}
"""What each peer's environment holds; the script is peer_<name>.py."""
REFERENCE = "mace"


@dataclass(frozen=True)
class Contender:
    """One process: whose code, in which shape and number type, with which allocator and threads."""

    who: str
    shape: str = "medium"
    dtype: str = "float32"
    tuned: bool = True
    threads: int = 1

    @property
    def name(self) -> str:
        """Unique; names files."""
        parts = [self.who]
        parts += [self.shape] if self.who in ("ours", "mace") else []
        parts += [self.dtype, *(["tuned"] if self.tuned else []), *(["2-threads"] if self.threads == 2 else [])]
        return "-".join(parts)

    @property
    def label(self) -> str:
        """For people."""
        what = {
            "ours": f"groundstate MACE {self.shape}",
            "mace": f"mace-torch {self.shape}",
            "chgnet": "CHGNet 0.3.0",
            "sevenn": "SevenNet-0 (5 Å)",
            "nequip": "NequIP M",
        }[self.who]
        # Every peer is tuned, so only the exception needs a word.
        untuned = "" if self.tuned or self.who == "ours" else ", default malloc"
        return f"{what}, {self.dtype}{untuned}{', 2 threads' if self.threads == 2 else ''}"


@dataclass(frozen=True)
class Case:
    """One thing to time. `required` ones run however long they take, others only if one run is short enough."""

    task: str
    structure: str
    required: bool = False
    rounds: int = 1
    only: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 10

    @property
    def name(self) -> str:
        """Unique within a contender; names files."""
        extra = "".join(f", {key} {value:g}" for key, value in self.options.items())
        return f"{self.task} {self.structure}{extra}"


@dataclass(frozen=True)
class Group:
    """Contenders whose processes live together, and are asked case by case in turn."""

    contenders: tuple[Contender, ...]
    cases: tuple[Case, ...]


def full(peers: Sequence[str]) -> list[Group]:
    """Everything: sizes, number types, shapes, allocators, threads."""
    others = [Contender(who) for who in peers if who != REFERENCE]
    medium = [Contender("ours", tuned=False)]
    if REFERENCE in peers:
        medium += [Contender("mace"), Contender("mace", tuned=False)]
    headline = (
        Case("evaluate", "Si 216", required=True, rounds=2),
        Case("evaluate", "SrTiO3 135", required=True, rounds=2),
    )
    # Silicon first and in this order, so that the highest memory of each size is that size's.
    cases = (
        Case("evaluate", "Si 8"),
        Case("evaluate", "Si 64"),
        headline[0],
        *(Case("evaluate", f"Si {n}") for n in (512, 1000, 4096, 13824)),
        Case("evaluate", "Si 97336", required=True, only=("ours",)),
        Case("evaluate", "SrTiO3 40"),
        headline[1],
        *(Case("evaluate", f"SrTiO3 {n}") for n in (320, 1080)),
        Case("evaluate", "1 element 135", only=("ours", REFERENCE)),
        Case("evaluate", "6 elements 135", only=("ours", REFERENCE)),
        Case("call", "Si 8"),
        Case("dynamics", "Si 8", required=True, rounds=2),
        *(Case("dynamics", "Si 216", only=("ours",), options={"skin": skin}) for skin in (1.0, 0.0)),
        Case("crystals", "small crystals"),
        Case("train", "training batch", required=True),
    )
    return [
        Group((*medium, *others), cases),
        two_threads(peers, rounds=2),
        _pair(peers, "medium", "float64", (*headline, *_float64_only()), untuned=True),
        _pair(peers, "small", "float32", headline),
        _pair(peers, "large", "float32", headline),
    ]


def quick(peers: Sequence[str]) -> list[Group]:
    """The medium shape in float32 against mace-torch."""
    cases = (
        Case("evaluate", "Si 8"),
        Case("evaluate", "Si 216", required=True, rounds=2),
        Case("evaluate", "SrTiO3 135", required=True, rounds=2),
        Case("call", "Si 8"),
        Case("dynamics", "Si 8", required=True, rounds=2),
        Case("train", "training batch", required=True),
    )
    return [_pair(peers, "medium", "float32", cases), two_threads(peers, rounds=1)]


def two_threads(peers: Sequence[str], rounds: int) -> Group:
    """The same evaluation with two threads, in wall time."""
    contenders = [Contender("ours", tuned=False, threads=2)]
    contenders += [Contender(REFERENCE, threads=2)] if REFERENCE in peers else []
    return Group(tuple(contenders), (Case("evaluate", "Si 216", required=True, rounds=rounds),))


def _pair(peers: Sequence[str], shape: str, dtype: str, cases: tuple[Case, ...], *, untuned: bool = False) -> Group:
    contenders = [Contender("ours", shape, dtype, tuned=False)]
    if REFERENCE in peers:
        contenders += [Contender(REFERENCE, shape, dtype, tuned) for tuned in ((True, False) if untuned else (True,))]
    return Group(tuple(contenders), cases)


def _float64_only() -> tuple[Case, ...]:
    return (Case("dynamics", "Si 8", required=True), Case("train", "training batch", required=True))
