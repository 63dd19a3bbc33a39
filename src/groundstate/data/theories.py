"""Levels of theory of well-known data sets by name, and rules that tell the Hubbard U of each frame.

The Materials Project's rule: in oxides and fluorides Co, Cr, Fe, Mn, Mo, Ni, V and W carry a U, elsewhere none. A set
computed by it has many levels of theory, one for each set of elements with a U. Source of rule and values: MPRelaxSet
of pymatgen (Jain et al., Phys. Rev. B 84, 045115 (2011)). Checked: tests/data/test_theories.py
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from groundstate.atoms import DataError, LevelOfTheory, OptionError, nearest
from groundstate.atoms.elements import symbols


@dataclass(frozen=True)
class TheoryRule:
    """A level of theory whose Hubbard U depends on the elements of the frame.

    hubbard_u: symbol → U in eV, applied in frames that hold one of the `anions`; none elsewhere.
    """

    base: LevelOfTheory
    hubbard_u: Mapping[str, float]
    anions: tuple[str, ...]
    _known: dict[frozenset[int], LevelOfTheory] = field(default_factory=dict, compare=False, repr=False)

    def of(self, numbers: Iterable[int]) -> LevelOfTheory:
        """The level of a frame with these atomic numbers."""
        elements = frozenset(numbers)
        if elements not in self._known:
            present = symbols(sorted(z for z in elements if z > 0))
            corrected = any(anion in present for anion in self.anions)
            pairs = [(symbol, self.hubbard_u[symbol]) for symbol in present if symbol in self.hubbard_u]
            self._known[elements] = replace(self.base, hubbard_u=tuple(pairs) if corrected else ())
        return self._known[elements]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"base": self.base.as_dict(), "hubbard_u": dict(self.hubbard_u), "anions": list(self.anions)}


@cache
def named_theories() -> Mapping[str, LevelOfTheory | TheoryRule]:
    """The levels and rules that have a name."""
    table = tomllib.loads(files("groundstate.data").joinpath("theories.toml").read_text(encoding="utf-8"))
    found: dict[str, LevelOfTheory | TheoryRule] = {}
    for name, row in table.items():
        rule = row.pop("rule", None)
        base = LevelOfTheory(**row)
        found[name] = base if rule is None else TheoryRule(base, rule["hubbard_u"], tuple(rule["anions"]))
    return found


def theory(name: str | Path) -> LevelOfTheory | TheoryRule | dict[str, LevelOfTheory]:
    """A level of theory by name, or from a JSON file: the fields of one, or of several by the `head` of frames."""
    if str(name) in named_theories():
        return named_theories()[str(name)]
    path = Path(name).expanduser()
    if not path.is_file():
        raise OptionError(
            "E-THEORY-NAME",
            f"there is neither a level of theory nor a file called '{name}'",
            fix=nearest(str(name), named_theories()),
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if "functional" in record:
            return LevelOfTheory.from_dict(record)
        return {head: LevelOfTheory.from_dict(level) for head, level in record.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            "E-THEORY-FILE",
            f"the file holds no level of theory ({error})",
            fix='write {"functional": "PBE", …}, or one of these per head',
            file=str(path),
        ) from error
