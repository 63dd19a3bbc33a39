"""GPAW at work: plane-wave PAW density-functional theory of crystals. Settings are the fields of `engines.gpaw.GPAW`.

Checked: tests/quantum/test_gpaw_engine.py
"""

from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms
from gpaw import GPAW, PW, FermiDirac, KohnShamConvergenceError  # type: ignore[import-not-found, unused-ignore]

Arrays = dict[str, Any]
"""A structure, or an answer: arrays by name."""


class NotConvergedError(Exception):
    """The self-consistent field ended without a solution."""

    code = "E-SCF-NOT-CONVERGED"


class Crystals:
    """Answers under fixed settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.facts = {"version": version("gpaw"), "setups": f"gpaw-data {version('gpaw-data')}"}

    def __call__(self, structures: list[Arrays], want: list[str]) -> list[Arrays | Exception]:
        return [_attempt(structure, want, self.settings) for structure in structures]


def start(settings: dict[str, Any]) -> Crystals:
    """What `external/worker.py` asks of a driver."""
    return Crystals(settings)


def _attempt(structure: Arrays, want: list[str], settings: Arrays) -> Arrays | Exception:
    try:
        return _calculate(structure, want, settings)
    except KohnShamConvergenceError as error:
        return NotConvergedError(str(error) or "the self-consistent field did not converge")
    except Exception as error:  # noqa: BLE001 — one structure that fails must not end the others
        return error


def _calculate(structure: Arrays, want: list[str], settings: Arrays) -> Arrays:
    atoms = Atoms(structure["numbers"], structure["positions"], cell=structure["cell"], pbc=True)
    moments = dict(settings["moments"])
    if moments:
        atoms.set_initial_magnetic_moments([moments.get(symbol, 0.0) for symbol in atoms.get_chemical_symbols()])
    atoms.calc = GPAW(
        mode=PW(settings["cutoff_eV"]),
        xc=settings["method"],
        kpts={"size": tuple(mesh(structure["cell"], settings)), "gamma": settings["gamma"]},
        occupations=FermiDirac(settings["smearing_eV"]),
        setups={symbol: f":d,{u}" for symbol, u in settings["hubbard_u"]} or "paw",
        convergence={"energy": settings["energy_tolerance_eV"], "density": settings["density_tolerance"]},
        maxiter=settings["max_cycles"],
        txt=None,
    )
    extrapolated = atoms.get_potential_energy()
    found = {"energy": extrapolated if settings["energy"] == "extrapolated" else atoms.calc.results["free_energy"]}
    if "forces" in want:
        forces = atoms.get_forces()
        # The real-space grid breaks translation: without this the cell would be pushed by ~1e-3 eV/Å.
        found["forces"] = forces - forces.mean(axis=0)
    if "stress" in want:
        found["stress"] = atoms.get_stress(voigt=False)
    if "magnetic_moments" in want:
        found["magnetic_moments"] = atoms.get_magnetic_moments() if moments else np.zeros(len(atoms))
    return {name: found[name] for name in want}


def mesh(cell: Any, settings: Arrays) -> list[int]:
    """Points along each reciprocal vector, so that neighbours are at most `k_spacing_per_A` apart (2π included)."""
    if settings["k_mesh"] is not None:
        return settings["k_mesh"]
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    return [int(n) for n in np.maximum(1, np.ceil(reciprocal / settings["k_spacing_per_A"] - 1e-6))]
