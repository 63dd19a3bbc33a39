"""Families of public models: what their environment holds, and which driver speaks for them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from groundstate.atoms import OptionError, nearest
from groundstate.external import Environment

DRIVERS = Path(__file__).parent / "drivers"
DRIVER = DRIVERS / "calculator.py"
"""The one driver: it serves an ASE calculator, which the file of a family makes."""


@dataclass(frozen=True)
class Family:
    """Models of one package, run in one environment.

    first, packages   pip requirements in two steps: a build of torch for this machine, then what stands on it
    imports           module that must import at the end
    boxed             whether open directions are closed with vacuum before a structure is sent, see `external.boxed`
    needs             what a person should know before installing
    """

    name: str
    title: str
    first: tuple[str, ...]
    packages: tuple[str, ...]
    imports: str
    boxed: bool
    needs: str

    @property
    def environment(self) -> Environment:
        """Where it runs."""
        return Environment(self.name, self.packages, first=self.first, imports=self.imports)

    @property
    def maker(self) -> Path:
        """The file that makes its calculators."""
        return DRIVERS / f"{self.name}.py"


@cache
def families() -> Mapping[str, Family]:
    """All families by name."""
    tables = tomllib.loads(files("groundstate.zoo").joinpath("families.toml").read_text(encoding="utf-8"))
    known = {f.name for f in fields(Family)} - {"name"}
    for name, table in tables.items():
        if set(table) != known:
            wrong = ", ".join(sorted(set(table) ^ known))
            raise OptionError("E-FAMILY", f"the family '{name}' has missing or unknown fields: {wrong}", fix="mend it")
    return MappingProxyType({name: _family(name, table) for name, table in tables.items()})


def _family(name: str, table: Mapping[str, Any]) -> Family:
    lists = {key: tuple(table[key]) for key in ("first", "packages")}
    return Family(name=name, **{**table, **lists})


def family(name: str) -> Family:
    """The family called `name`."""
    if name not in families():
        raise OptionError("E-MODEL-FAMILY", f"there is no family of models '{name}'", fix=nearest(name, families()))
    return families()[name]
