"""The one table of physical quantities. Readers, heads, loss, reports and laws look here; nothing is guessed."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from groundstate.atoms.errors import OptionError, nearest


@dataclass(frozen=True)
class Quantity:
    """A row of `quantities.toml`; `shape` are the axes after `system` or `atom`."""

    name: str
    unit: str
    per: Literal["system", "atom"]
    shape: tuple[int, ...]
    kind: str
    additive: bool
    meaning: str
    keys: tuple[str, ...]

    @property
    def extensive(self) -> bool:
        """One number per system that grows with it, so that errors are quoted per atom."""
        return self.per == "system" and self.additive


@cache
def quantities() -> dict[str, Quantity]:
    """All quantities by name."""
    table = tomllib.loads(files("groundstate.atoms").joinpath("quantities.toml").read_text(encoding="utf-8"))
    return {
        name: Quantity(
            name,
            row["unit"],
            row["per"],
            tuple(row["shape"]),
            row["kind"],
            row["additive"],
            row["meaning"],
            tuple(row["keys"]),
        )
        for name, row in table.items()
    }


def quantity(name: str) -> Quantity:
    """The row called `name`; an unknown name is refused with the nearest known one."""
    try:
        return quantities()[name]
    except KeyError:
        raise OptionError(
            "E-QUANTITY-UNKNOWN",
            f"there is no physical quantity '{name}'",
            why="its unit, shape and sign would be guessed",
            fix=nearest(name, quantities()),
        ) from None
