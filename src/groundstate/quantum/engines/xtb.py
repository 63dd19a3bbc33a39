"""tblite: molecules by extended tight binding, a thousand times cheaper than density-functional theory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from groundstate.atoms import Domain, GroundstateError, LevelOfTheory, System
from groundstate.data.convert import missing_extra
from groundstate.quantum.engine import DRIVERS, Engine, in_range, one_of, refused_as_molecule


@dataclass(frozen=True)
class XTB:
    """GFN1-xTB and GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019)).

    accuracy    multiplies the thresholds of tblite; 0.1 makes forces equal differences of energies to 1e-5 eV/Å
    """

    method: str = "GFN2-xTB"
    accuracy: float = 0.1
    max_cycles: int = 250

    def __post_init__(self) -> None:
        one_of("method", self.method, ("GFN2-xTB", "GFN1-xTB"))
        in_range("accuracy", self.accuracy, 1e-4, 10.0)

    @property
    def name(self) -> str:
        return "xtb"

    @property
    def provides(self) -> frozenset[str]:
        return frozenset({"energy", "forces", "charges", "dipole"})

    @property
    def domain(self) -> Domain:
        """Parametrised from hydrogen to radon."""
        return Domain(elements=frozenset(range(1, 87)), charge="accepts", multiplicity="accepts")

    @property
    def driver(self) -> Path:
        return DRIVERS / "xtb_driver.py"

    def interpreter(self) -> str | None:
        """An extra of ours, so the interpreter running now."""
        if find_spec("tblite") is None:
            raise missing_extra("xtb", "xtb")
        return None

    def theory(self, facts: Mapping[str, Any]) -> LevelOfTheory:
        """The parametrisation is the level."""
        return LevelOfTheory(
            self.method,
            basis="minimal valence",
            pseudopotential="parametrised cores",
            code=f"tblite {facts['version']}",
            energy_zero="parametrised cores and electrons at rest",
        )

    def refusal(self, single: System) -> GroundstateError | None:
        """Molecules only."""
        why = "it samples the Γ point only, and the stress of MgO is off by 30 GPa"
        return refused_as_molecule(single, "xtb", why)

    def finer(self) -> dict[str, Engine]:
        """Thresholds ten times tighter; nothing else can be improved in a parametrised method."""
        better: dict[str, Engine] = {f"accuracy {self.accuracy / 10:g}": replace(self, accuracy=self.accuracy / 10)}
        return better
