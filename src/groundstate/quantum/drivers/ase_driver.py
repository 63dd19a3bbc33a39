"""Any ASE calculator at work: `factory` is `module:callable`, `keywords` are its arguments.

Forces that a calculator's `free_energy` belongs to are labelled with that energy where it gives one, so that energy and
forces agree. Checked: tests/quantum/test_ase_engine.py
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ase
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

Arrays = dict[str, Any]
"""A structure, or an answer: arrays by name."""


class NoSuchPropertyError(Exception):
    """The calculator does not compute what is wanted."""

    code = "E-PROPERTY-UNDEFINED"


class NotConvergedError(Exception):
    """The calculator says that its result is not converged."""

    code = "E-SCF-NOT-CONVERGED"


class NoFactoryError(Exception):
    """The factory cannot be had."""

    code = "E-FACTORY"


class AnyCalculator:
    """Answers under fixed settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        module, _, attribute = settings["factory"].partition(":")
        try:
            self.factory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise NoFactoryError(f"'{settings['factory']}' cannot be imported ({error})") from error
        self.settings = settings
        self.facts = {"version": _versions(module)}

    def __call__(self, structures: list[Arrays], want: list[str]) -> list[Arrays | Exception]:
        return [_attempt(structure, want, self.factory, self.settings["keywords"]) for structure in structures]


def start(settings: dict[str, Any]) -> AnyCalculator:
    """What `external/worker.py` asks of a driver."""
    return AnyCalculator(settings)


def _versions(module: str) -> str:
    """ASE's version, and that of the package the factory comes from where it is another."""
    package = module.partition(".")[0]
    try:
        own = "" if package == "ase" else f"{package} {version(package)}, "
    except PackageNotFoundError:
        own = f"{package}, "
    return f"{own}ase {ase.__version__}"


def _attempt(structure: Arrays, want: list[str], factory: Any, keywords: Arrays) -> Arrays | Exception:
    try:
        atoms = Atoms(
            structure["numbers"], structure["positions"], cell=structure["cell"], pbc=structure["pbc"].astype(bool)
        )
        atoms.calc = factory(**keywords)
        found = {name: _QUANTITIES[name](atoms) for name in want}
        if getattr(atoms.calc, "converged", None) is False:
            return NotConvergedError("the calculator reports that it is not converged")
        return found
    except PropertyNotImplementedError as error:
        return NoSuchPropertyError(str(error))
    except Exception as error:  # noqa: BLE001 — one structure that fails must not end the others
        return NotConvergedError(str(error)) if "converge" in str(error).lower() else error


def _energy(atoms: Atoms) -> float:
    energy = atoms.get_potential_energy()
    return atoms.calc.results.get("free_energy", energy)


_QUANTITIES = {
    "energy": _energy,
    "forces": lambda atoms: np.asarray(atoms.get_forces()),
    "stress": lambda atoms: np.asarray(atoms.get_stress(voigt=False)),
    "charges": lambda atoms: np.asarray(atoms.get_charges()),
    "dipole": lambda atoms: np.asarray(atoms.get_dipole_moment()),
    "magnetic_moments": lambda atoms: np.asarray(atoms.get_magnetic_moments()),
}
