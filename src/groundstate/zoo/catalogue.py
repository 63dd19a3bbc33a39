"""Facts about public models, as data: what each is, what it knows, what it may be used for and how to get it."""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from groundstate.atoms import Domain, LevelOfTheory, ModelError, OptionError, nearest
from groundstate.atoms.elements import from_label, symbols

_CONDITIONS = ("charge", "multiplicity", "theory")
_ATTITUDES = ("needs", "accepts", "ignores")
_COMMERCIAL = ("yes", "no", "see licence")
_SOURCES = ("package", "download", "request")
_HEX = frozenset("0123456789abcdef")
_OPTIONAL = frozenset({"elements", "outputs", "settings", "url", "sha256", "page"})
"""Fields that may be left out of a file or be empty: where no primary source states them, the card does not either."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of a model: where it is found in its source, and its hash ("" where no primary source states it)."""

    name: str
    url: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.name or (self.sha256 and (len(self.sha256) != 64 or set(self.sha256) - _HEX)):
            raise OptionError("E-CARD", f"'{self.name}' has no name or no SHA-256", fix="give 64 hexadecimal digits")


def joint_hash(hashes: Mapping[str, str]) -> str:
    """Of one file its own, of several the SHA-256 over their names and hashes."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in hashes.items()).encode()).hexdigest()


@dataclass(frozen=True)
class Weights:
    """Where the numbers come from.

    source   "package": shipped inside the pip package, `name` is the path there · "download": from `url` · "request":
             behind an account or terms that a person must accept, at `page`
    page     for people: the model's own page
    """

    source: str
    files: tuple[WeightsFile, ...]
    page: str = ""

    def __post_init__(self) -> None:
        if not self.files:
            raise OptionError("E-CARD", "weights without a file", fix="name the files of the model")

    @property
    def sha256(self) -> str:
        """Hash of the one file, or over the hashes of several; "" while one of them is not known."""
        hashes = {file.name: file.sha256 for file in self.files}
        return joint_hash(hashes) if all(hashes.values()) else ""

    @property
    def pinned(self) -> bool:
        """Whether the card fixes every byte."""
        return bool(self.sha256)


@dataclass(frozen=True)
class Card:
    """One public model, immutable: the hash of its weights, where it is known, is part of its name.

    family           how it is run: in this process, or by the driver of that family (families.toml)
    architecture     in a line · parameters: their number, 0 where not stated
    commercial       whether the licence of the weights lets a company use them: "yes", "no", "see licence"
    conservative     forces are the derivative of its energy
    elements         atomic numbers it was trained on; empty where no primary source lists them, the weights decide then
    theory           what its energies mean; each head of a model is a card of its own
    outputs          quantities beyond energy and its derivatives
    conditions       whether charge, multiplicity and theory are needed, accepted or ignored
    cutoff           Å, of one layer; 0 where not stated
    limits           what a user must know before trusting it
    precisions       it computes in, the published one first
    settings         what its driver is given
    """

    name: str
    version: str
    family: str
    architecture: str
    licence: str
    commercial: str
    parameters: int
    conservative: bool
    cutoff: float
    elements: frozenset[int]
    training_sets: tuple[str, ...]
    theory: LevelOfTheory
    conditions: Mapping[str, str]
    limits: tuple[str, ...]
    citation: str
    install: str
    precisions: tuple[str, ...]
    weights: Weights
    outputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        empty = [f.name for f in fields(self) if getattr(self, f.name) in ("", (), frozenset())]
        empty = [name for name in empty if name not in _OPTIONAL]
        if empty:
            raise _wrong(self.name, f"'{empty[0]}' is empty", "state it; a model without it cannot be offered")
        _known(self.name, "commercial", [self.commercial], _COMMERCIAL)
        _known(self.name, "weights.source", [self.weights.source], _SOURCES)
        _known(self.name, "precisions", self.precisions, ("float32", "float64"))
        if set(self.conditions) != {*_CONDITIONS} or not set(self.conditions.values()) <= {*_ATTITUDES}:
            raise _wrong(self.name, "'conditions' is wrong", f"give each of {_CONDITIONS} as one of {_ATTITUDES}")

    @property
    def key(self) -> str:
        """`name-version`."""
        return f"{self.name}-{self.version}"

    @property
    def id(self) -> str:
        """`name-version@hash`, the name that can never come to mean other weights; without hash where it is unknown."""
        return f"{self.key}@{self.weights_sha256[:12]}" if self.weights.pinned else self.key

    @property
    def weights_sha256(self) -> str:
        """Of the published weights, "" where no primary source states it."""
        return self.weights.sha256

    @property
    def dispersion(self) -> str:
        """What of the dispersion its energies contain, so that nobody adds it twice."""
        return self.theory.dispersion

    @property
    def domain(self) -> Domain:
        """The structures it can answer for."""
        return Domain(elements=self.elements or None, **self.conditions)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, the identity first."""
        return {
            "id": self.id,
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "elements": " ".join(symbols(sorted(self.elements))),
            "training_sets": list(self.training_sets),
            "limits": list(self.limits),
            "conditions": dict(self.conditions),
            "theory": self.theory.label,
            "level_of_theory": self.theory.as_dict(),
            "dispersion": self.dispersion,
            "outputs": list(self.outputs),
            "precisions": list(self.precisions),
            "settings": dict(self.settings),
            "weights": {**asdict(self.weights), "files": [asdict(file) for file in self.weights.files]},
            "weights_sha256": self.weights_sha256 or "not pinned",
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Card":
        """From one file of `cards/`; a field too many or too few is refused."""
        name = record.get("name", "?")
        _fields(name, cls, record)
        weights = dict(record["weights"])
        _fields(f"{name}: weights", Weights, weights)
        for file in weights["files"]:
            _fields(f"{name}: weights.files", WeightsFile, file)
        weights["files"] = tuple(WeightsFile(**file) for file in weights["files"])
        converted = {
            "elements": _elements(record.get("elements", "")),
            "conditions": MappingProxyType(dict(record["conditions"])),
            "theory": LevelOfTheory.from_dict(record["theory"]),
            "weights": Weights(**weights),
            "settings": MappingProxyType(dict(record.get("settings", {}))),
            **{key: tuple(record.get(key, ())) for key in ("training_sets", "limits", "outputs", "precisions")},
        }
        return cls(**{**record, **converted})


@cache
def cards() -> Mapping[str, Card]:
    """Every public model that can be loaded here, by name and version."""
    folder = files("groundstate.zoo").joinpath("cards")
    read = [
        Card.from_dict(tomllib.loads(entry.read_text(encoding="utf-8")))
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    ]
    return MappingProxyType({card.key: card for card in read})


def resolve(name: str) -> Card:
    """The one card a name means: `chgnet`, `chgnet-0.3.0` or the full id. An unknown name chooses nothing."""
    matching = [card for key, card in cards().items() if name in (card.name, key, card.id)]
    if len(matching) == 1:
        return matching[0]
    known = sorted({alias for key, card in cards().items() for alias in (card.name, key, card.id)})
    if not matching:
        raise ModelError(
            "E-MODEL-UNKNOWN",
            f"there is no public model called '{name}'",
            why="a result must not come from a model nobody asked for",
            fix=f"{nearest(name, known)} (a model file is given by its path, ending in .safetensors)",
        )
    raise ModelError(
        "E-MODEL-AMBIGUOUS",
        f"'{name}' is the name of {len(matching)} versions",
        why="their results differ",
        fix="name one: " + ", ".join(card.id for card in matching),
    )


def chosen(*, commercial: bool = False, elements: Iterable[str] = (), charge: bool = False) -> list[Card]:
    """The cards that meet every wish; one that does not state its elements knows none for certain."""
    wanted = {from_label(symbol)[0].number for symbol in elements}
    return [
        card
        for card in cards().values()
        if (not commercial or card.commercial == "yes")
        and wanted <= card.elements
        and (not charge or card.conditions["charge"] != "ignores")
    ]


def _elements(text: str) -> frozenset[int]:
    """`H-Bi Ac-Pu` or `H C N O` as atomic numbers."""
    numbers: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        numbers.update(range(from_label(first)[0].number, from_label(last or first)[0].number + 1))
    return frozenset(numbers)


def _fields(name: str, kind: Any, record: Mapping[str, Any]) -> None:
    known = [f.name for f in fields(kind)]
    for key in record:
        if key not in known:
            raise _wrong(name, f"a card has no field '{key}'", nearest(key, known))
    needed = [f.name for f in fields(kind) if f.name not in _OPTIONAL]
    missing = [key for key in needed if key not in record]
    if missing:
        raise _wrong(name, f"'{missing[0]}' is missing", "state it")


def _known(name: str, key: str, values: Iterable[str], allowed: tuple[str, ...]) -> None:
    for value in values:
        if value not in allowed:
            raise _wrong(name, f"'{key}' is '{value}'", f"give one of {allowed}")


def _wrong(name: str, what: str, fix: str) -> OptionError:
    return OptionError("E-CARD", f"the card of model '{name}' is wrong: {what}", fix=fix)
