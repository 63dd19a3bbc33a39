"""Any ASE calculator at work: `factory` is `module:callable`, `keywords` are its arguments.

Forces that a calculator's `free_energy` belongs to are labelled with that energy where it gives one, so that energy and
forces agree. Checked: tests/quantum/test_ase_engine.py
"""

import importlib

import ase
import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError


class NoSuchProperty(Exception):
    """The calculator does not compute what is wanted."""

    code = "E-PROPERTY-UNDEFINED"


class NotConverged(Exception):
    """The calculator says that its result is not converged."""

    code = "E-SCF-NOT-CONVERGED"


class NoFactory(Exception):
    """The factory cannot be had."""

    code = "E-FACTORY"


def start(settings):
    """A function that answers for structures with this calculator, made anew for each of them."""
    module, _, attribute = settings["factory"].partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise NoFactory(f"'{settings['factory']}' cannot be imported ({error})") from error

    def compute(structures, want):
        return [_attempt(structure, want, factory, settings["keywords"]) for structure in structures]

    compute.facts = {"version": f"ase {ase.__version__}"}
    return compute


def _attempt(structure, want, factory, keywords):
    try:
        atoms = Atoms(
            structure["numbers"], structure["positions"], cell=structure["cell"], pbc=structure["pbc"].astype(bool)
        )
        atoms.calc = factory(**keywords)
        found = {name: _QUANTITIES[name](atoms) for name in want}
        if getattr(atoms.calc, "converged", None) is False:
            return NotConverged("the calculator reports that it is not converged")
        return found
    except PropertyNotImplementedError as error:
        return NoSuchProperty(str(error))
    except Exception as error:  # noqa: BLE001 — one structure that fails must not end the others
        return NotConverged(str(error)) if "converge" in str(error).lower() else error


def _energy(atoms):
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
