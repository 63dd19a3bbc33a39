"""PySCF: molecules by Kohn–Sham, Hartree–Fock, MP2 and coupled cluster, with charge and spin."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from groundstate.atoms import Domain, GroundstateError, LevelOfTheory, OptionError, System
from groundstate.data.convert import missing_extra
from groundstate.quantum.engine import DRIVERS, Engine, in_range, one_of, refused_as_molecule

CORRELATED = ("MP2", "CCSD", "CCSD(T)")
LARGER_BASIS = {
    "def2-svp": "def2-tzvp",
    "def2-tzvp": "def2-qzvp",
    "def2-tzvpd": "def2-qzvpd",
    "cc-pvdz": "cc-pvtz",
    "cc-pvtz": "cc-pvqz",
    "aug-cc-pvdz": "aug-cc-pvtz",
    "aug-cc-pvtz": "aug-cc-pvqz",
}


@dataclass(frozen=True)
class PySCF:
    """Molecules with all electrons (def2 bases replace the cores of elements beyond krypton by their potentials).

    method      a functional of libxc ("PBE", "PBE0", "B3LYP", "wB97X-V", …), "HF", "MP2", "CCSD" or "CCSD(T)"
    basis       `None`: def2-TZVP for functionals and HF, cc-pVTZ for correlated methods
    dispersion  "none", "D3(BJ)" or "D4"; needs the package pyscf-dispersion
    density_fitting   of Coulomb and exchange of a functional: 1e-5 eV/atom, several times faster
    grid_level  of the integration grid; 4 keeps errors of forces below 1e-4 eV/Å
    frozen_core the usual cores are left out of correlation
    stability   look for a lower solution of the same multiplicity and take it
    states      excited states of "excitation_energies" and "oscillator_strengths" (linear-response TDDFT)
    Open shells are unrestricted. A molecule that states no multiplicity is a singlet, or refused where its electrons
    are odd; dioxygen is not a singlet and must say so.
    """

    method: str = "PBE"
    basis: str | None = None
    dispersion: str = "none"
    density_fitting: bool = True
    grid_level: int = 4
    frozen_core: bool = True
    stability: bool = False
    states: int = 5
    energy_tolerance_Ha: float = 1e-10
    max_cycles: int = 100

    def __post_init__(self) -> None:
        upper = self.method.upper()
        if upper in ("HF", *CORRELATED):
            object.__setattr__(self, "method", upper)
        if self.basis is None:
            object.__setattr__(self, "basis", "cc-pVTZ" if self.correlated else "def2-TZVP")
        one_of("dispersion", self.dispersion, ("none", "D3(BJ)", "D4"))
        in_range("grid_level", float(self.grid_level), 0.0, 9.0)
        in_range("energy_tolerance_Ha", self.energy_tolerance_Ha, 1e-14, 1e-7)
        in_range("states", float(self.states), 1.0, 100.0)
        if self.correlated and self.dispersion != "none":
            raise OptionError(
                "E-OPTION-CONFLICT",
                f"{self.method} with dispersion {self.dispersion}",
                why="it holds dispersion already, which would be counted twice",
                fix="leave dispersion out",
            )

    @property
    def correlated(self) -> bool:
        """Whether a wave function is correlated after Hartree–Fock."""
        return self.method in CORRELATED

    @property
    def name(self) -> str:
        return "pyscf"

    @property
    def provides(self) -> frozenset[str]:
        """Excited states and charges belong to a mean field."""
        if self.correlated:
            return frozenset({"energy", "forces"})
        return frozenset({"energy", "forces", "dipole", "charges", "excitation_energies", "oscillator_strengths"})

    @property
    def domain(self) -> Domain:
        """Charge and multiplicity decide the electronic state."""
        return Domain(elements=frozenset(range(1, 87)), charge="accepts", multiplicity="accepts")

    @property
    def driver(self) -> Path:
        return DRIVERS / "pyscf_driver.py"

    def interpreter(self) -> str | None:
        """An extra of ours, so the interpreter running now."""
        if find_spec("pyscf") is None:
            raise missing_extra("molecules", "pyscf")
        return None

    def theory(self, facts: Mapping[str, Any]) -> LevelOfTheory:
        """Functional or method, basis with what was fitted or frozen."""
        detail = f", frozen core={self.frozen_core}" if self.correlated else ""
        if not self.correlated and self.method != "HF":
            detail = f", grid {self.grid_level}" + (", density fitting" if self.density_fitting else "")
        return LevelOfTheory(
            self.method,
            dispersion=self.dispersion,
            basis=f"{self.basis}{detail}",
            pseudopotential="all-electron (def2: effective cores beyond Kr)",
            code=f"PySCF {facts['version']}",
            energy_zero="nuclei and electrons at rest",
        )

    def refusal(self, single: System) -> GroundstateError | None:
        """Molecules only."""
        return refused_as_molecule(single, "pyscf", "its forces of crystals take hours where gpaw takes minutes")

    def finer(self) -> dict[str, Engine]:
        """The next basis, a denser grid, no density fitting."""
        better: dict[str, Engine] = {}
        if larger := LARGER_BASIS.get(str(self.basis).lower()):
            better[f"basis {larger}"] = replace(self, basis=larger)
        if not self.correlated and self.method != "HF":
            better[f"grid {self.grid_level + 2}"] = replace(self, grid_level=min(9, self.grid_level + 2))
            if self.density_fitting:
                better["no density fitting"] = replace(self, density_fitting=False)
        return better
