"""Any ASE calculator as a reference: Quantum ESPRESSO, VASP, ORCA by the user's own install, EMT in tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundstate.atoms import Domain, GroundstateError, LevelOfTheory, OptionError, System
from groundstate.quantum.engine import DRIVERS, Engine


@dataclass(frozen=True)
class ASE:
    """`factory` is `module:callable` and `keywords` are its arguments, plain data; `method` names the level of theory.

    basis, pseudopotential, code    say the rest of the level, in the words of who set the calculator up
    computes                        quantities it is asked for
    python                          Python of an environment that has the calculator; this one by default
    Charge and multiplicity of a structure do not reach the calculator, so that a structure that states others than 0
    and 1 is refused. Convergence is the calculator's own word: a calculator that returns unconverged numbers without
    saying so cannot be caught here.
    """

    factory: str = ""
    method: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    basis: str = ""
    pseudopotential: str = ""
    code: str = ""
    computes: tuple[str, ...] = ("energy", "forces", "stress")
    python: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "computes", tuple(self.computes))
        module, _, attribute = self.factory.partition(":")
        if not (module and attribute):
            raise OptionError(
                "E-FACTORY",
                f"factory='{self.factory}' is not 'module:callable'",
                fix="write it as ase.calculators.espresso:Espresso",
            )
        if not self.method:
            raise OptionError(
                "E-THEORY-INCOMPLETE",
                "an ASE calculator does not say its level of theory",
                why="energies of unknown origin cannot be compared or mixed",
                fix="name it with method, e.g. method='PBE'",
            )

    @property
    def name(self) -> str:
        return "ase"

    @property
    def provides(self) -> frozenset[str]:
        return frozenset(self.computes)

    @property
    def domain(self) -> Domain:
        """The calculator refuses elements it does not know."""
        return Domain()

    @property
    def driver(self) -> Path:
        return DRIVERS / "ase_driver.py"

    def interpreter(self) -> str | None:
        return self.python

    def theory(self, facts: Mapping[str, Any]) -> LevelOfTheory:
        """As its user states it."""
        code = self.code or self.factory.partition(":")[2]
        return LevelOfTheory(
            self.method, basis=self.basis, pseudopotential=self.pseudopotential, code=f"{code} ({facts['version']})"
        )

    def refusal(self, single: System) -> GroundstateError | None:
        """Nothing is known of the calculator that could be refused here."""
        return None

    def finer(self) -> dict[str, Engine]:
        """Its keywords are its own."""
        return {}
