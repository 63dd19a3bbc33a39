"""Level of theory: what a label or a model's energy means. Energies of different levels never mix silently."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from groundstate.atoms.errors import OptionError, nearest


@dataclass(frozen=True)
class LevelOfTheory:
    """The electronic-structure model behind an energy.

    functional      "PBE", "r2SCAN", "CCSD(T)", …
    hubbard_u       ((symbol, U in eV), …) applied in this calculation; () where none
    dispersion      "none", "D3(BJ)", "D4", "MBD", …
    basis           plane-wave cutoff or Gaussian basis: "PW 800 eV", "def2-SVP"
    pseudopotential family of the cores, "all-electron" where none
    code            program and version that made the numbers
    energy_zero     what E = 0 means: "isolated reference atoms", "pseudo-cores and electrons at rest", …
    """

    functional: str
    hubbard_u: tuple[tuple[str, float], ...] = ()
    dispersion: str = "none"
    basis: str = ""
    pseudopotential: str = ""
    code: str = ""
    energy_zero: str = ""

    def __post_init__(self) -> None:
        if not self.functional:
            raise OptionError(
                "E-THEORY-INCOMPLETE",
                "a level of theory needs its functional or wave-function method",
                why="energies of unknown origin cannot be compared or mixed",
                fix="name it, e.g. LevelOfTheory(functional='PBE')",
            )
        object.__setattr__(self, "hubbard_u", tuple(sorted((str(s), float(u)) for s, u in self.hubbard_u)))

    @property
    def id(self) -> str:
        """Short name with a hash over all fields; equal exactly when the records are equal."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.label}#{digest}"

    @property
    def label(self) -> str:
        """What a person reads: functional, +U and dispersion."""
        return (
            self.functional
            + ("+U" if self.hubbard_u else "")
            + ("" if self.dispersion == "none" else f"-{self.dispersion}")
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is the inverse."""
        return {**asdict(self), "hubbard_u": [list(pair) for pair in self.hubbard_u]}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "LevelOfTheory":
        """Inverse of `as_dict`; unknown fields are refused."""
        for key in record:
            if key not in cls.__dataclass_fields__:
                raise OptionError(
                    "E-THEORY-FIELD",
                    f"a level of theory has no field '{key}'",
                    fix=nearest(key, cls.__dataclass_fields__),
                )
        return cls(**{**record, "hubbard_u": tuple((s, u) for s, u in record.get("hubbard_u", ()))})

    def differences(self, other: "LevelOfTheory") -> tuple[str, ...]:
        """Names of the fields in which two levels differ; empty when their energies may be mixed."""
        mine, theirs = asdict(self), asdict(other)
        return tuple(name for name in mine if mine[name] != theirs[name])
