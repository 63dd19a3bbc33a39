"""Facts about public models, as data: what each is, what it knows, what it may be used for and how to get it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from groundstate.atoms import Domain, LevelOfTheory, ModelError, OptionError, nearest
from groundstate.atoms.elements import from_label, symbols

_CONDITIONS = ("charge", "multiplicity", "theory")
_ATTITUDES = ("needs", "accepts", "ignores")


@dataclass(frozen=True)
class Card:
    """One public model, immutable: the hash of its weights is part of its name.

    weights_sha256   of the published file · parameters   their number
    conservative     forces are the derivative of its energy
    elements         atomic numbers it was trained on
    theory           what its energies mean
    conditions       whether charge, multiplicity and theory are needed, accepted or ignored
    limits           what a user must know before trusting it
    install          the command that brings it
    """

    name: str
    version: str
    weights_sha256: str
    family: str
    licence: str
    parameters: int
    conservative: bool
    elements: frozenset[int]
    training_sets: tuple[str, ...]
    theory: LevelOfTheory
    conditions: Mapping[str, str]
    limits: tuple[str, ...]
    citation: str
    install: str

    def __post_init__(self) -> None:
        empty = [f.name for f in fields(self) if getattr(self, f.name) in ("", (), frozenset())]
        if empty:
            raise _wrong(self.name, f"'{empty[0]}' is empty", "state it; a model without it cannot be offered")
        if len(self.weights_sha256) != 64 or set(self.weights_sha256) - set("0123456789abcdef"):
            raise _wrong(self.name, "'weights_sha256' is not a SHA-256", "give its 64 hexadecimal digits")
        if set(self.conditions) != {*_CONDITIONS} or not set(self.conditions.values()) <= {*_ATTITUDES}:
            raise _wrong(self.name, "'conditions' is wrong", f"give each of {_CONDITIONS} as one of {_ATTITUDES}")

    @property
    def id(self) -> str:
        """`name-version@hash`, the name that can never come to mean other weights."""
        return f"{self.name}-{self.version}@{self.weights_sha256[:12]}"

    @property
    def domain(self) -> Domain:
        """The structures it can answer for."""
        return Domain(elements=self.elements, **self.conditions)  # type: ignore[arg-type]

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
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Card":
        """From one table of `cards.toml`; a field too many or too few is refused."""
        known = [f.name for f in fields(cls)]
        for key in record:
            if key not in known:
                raise _wrong(record.get("name", "?"), f"a card has no field '{key}'", nearest(key, known))
        missing = [name for name in known if name not in record]
        if missing:
            raise _wrong(record.get("name", "?"), f"'{missing[0]}' is missing", "state it")
        converted = {
            "elements": frozenset(from_label(symbol)[0].number for symbol in record["elements"].split()),
            "training_sets": tuple(record["training_sets"]),
            "limits": tuple(record["limits"]),
            "conditions": MappingProxyType(dict(record["conditions"])),
            "theory": LevelOfTheory.from_dict(record["theory"]),
        }
        return cls(**{**record, **converted})


@cache
def cards() -> Mapping[str, Card]:
    """Every public model that can be loaded here, by name and version."""
    tables = tomllib.loads(files("groundstate.zoo").joinpath("cards.toml").read_text(encoding="utf-8"))
    return MappingProxyType({key: Card.from_dict(table) for key, table in tables.items()})


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


def _wrong(name: str, what: str, fix: str) -> OptionError:
    return OptionError("E-CARD", f"the card of model '{name}' is wrong: {what}", fix=fix)
