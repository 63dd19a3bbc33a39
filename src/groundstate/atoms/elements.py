"""The periodic table: symbols, standard atomic weights (amu), covalent radii (Å)."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from groundstate.atoms.errors import StructureError, nearest

N_ELEMENTS = 118


@dataclass(frozen=True)
class Element:
    """One row of the periodic table; sources stand in `elements.toml`."""

    number: int
    symbol: str
    mass: float
    covalent_radius: float


@cache
def periodic_table() -> tuple[Element, ...]:
    """All 118 elements, hydrogen first."""
    rows = tomllib.loads(files("groundstate.atoms").joinpath("elements.toml").read_text(encoding="utf-8"))["elements"]
    return tuple(Element(*row) for row in rows)


@cache
def _by_symbol() -> dict[str, Element]:
    return {element.symbol: element for element in periodic_table()}


def element(number: int) -> Element:
    """The element with atomic number Z; refuses Z outside 1 … 118 (Z = 0 is ASE's dummy atom X)."""
    if not 1 <= number <= N_ELEMENTS:
        raise StructureError(
            "E-ELEMENT-UNKNOWN",
            f"atomic number {number} is not an element",
            why="a potential describes real atoms; 0 is a dummy or a ghost",
            fix="remove the dummy atoms or give them their element",
        )
    return periodic_table()[number - 1]


def symbols(numbers: "tuple[int, ...] | list[int]") -> list[str]:
    """Symbols for atomic numbers."""
    return [element(int(number)).symbol for number in numbers]


def from_label(label: str) -> tuple[Element, str]:
    """The element a site label names, and a note on what was read into it (empty when nothing was).

    `D` and `T` are hydrogen; an oxidation state or a site number is dropped (`Fe3+`, `O2-`, `Ti1`). Anything else that
    is not a symbol is refused.
    """
    text = label.strip()
    if text in _by_symbol():
        return _by_symbol()[text], ""
    if text in ("D", "T"):
        return _by_symbol()["H"], f"{text} read as H (isotopes differ in mass only)"
    match = re.fullmatch(r"([A-Z][a-z]?)(\d*[+-]?\d*)", text)
    if match and match.group(1) in _by_symbol():
        return _by_symbol()[
            match.group(1)
        ], f"'{text}' read as {match.group(1)} (oxidation state or site number dropped)"
    raise StructureError(
        "E-ELEMENT-UNKNOWN",
        f"'{label}' is not an element symbol",
        why="its energy and its neighbours would be made up",
        fix=nearest(text, _by_symbol()),
    )
