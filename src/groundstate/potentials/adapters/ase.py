"""A potential as an ASE calculator: ASE's units, order and manners, none of its stale answers."""

from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from groundstate.atoms import Allowances, System, UndefinedPropertyError, VerletList, check_moved
from groundstate.data import from_ase
from groundstate.potentials.derive import evaluate, periodic_projector, refuse_not_finite
from groundstate.potentials.potential import Potential

_CONDITION_KEYS = ("charge", "total_charge", "spin", "total_spin", "multiplicity", "theory", "head")
_ALWAYS = ("energy", "free_energy", "forces", "energies", "stress", "stresses")
_FROM_OUTPUT = {"charges": "charges", "magmoms": "magnetic_moments", "dipole": "dipole"}


class Calculator(AseCalculator):
    """Energy, free energy (equal), forces, stress (Voigt xx yy zz yz xz xy, eV/Å³, tension positive), and per atom.

    Charge and multiplicity are read from `atoms.info['charge']` and `['spin']` (2S+1), and a change of them is a change
    of the structure. Every call passes the contract: what must not be computed raises, it is never a number. For a slab
    the out-of-plane components of the stress are 0 and `stress_defined` marks the others; a molecule has no stress.
    """

    implemented_properties: list[str] = [*_ALWAYS]  # noqa: RUF012 — ASE reads and we set it per instance

    def __init__(
        self,
        potential: Potential,
        *,
        theory: int | None = None,
        allow: Allowances | None = None,
        skin: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.potential = potential
        self.implemented_properties = [
            *_ALWAYS,
            *(name for name, source in _FROM_OUTPUT.items() if source in potential.provides),
        ]
        self.theory, self.allow = theory, allow
        self.stress_defined: NDArray[np.bool_] | None = None
        self._neighbours = VerletList(potential.cutoff, skin)

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """ASE's own list of changes, and the conditions it does not look at."""
        if self.atoms is not None and _alike(self.atoms, atoms):  # asked several times a step, and ASE's way is slow
            return []
        changes = list(super().check_state(atoms, tol))
        if self.atoms is not None and _conditions(self.atoms) != _conditions(atoms):
            changes.append("info")
        return changes

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Everything cheap at once, per-atom partitions when asked for."""
        super().calculate(atoms, properties, system_changes)
        asked = set(properties or ["energy"])
        system = from_ase(self.atoms)
        if self.theory is not None:
            system = system.replace(theory=torch.tensor([self.theory]))
        check_moved(system, self.potential.domain, self.allow, self._neighbours.reaching)
        has_stress = bool(system.pbc.any()) and float(system.volume[0]) > 1e-6
        if asked & {"stress", "stresses"} and not has_stress:
            raise PropertyNotImplementedError(
                "stress: a structure without periods, or without thickness along an open direction, has no volume"
            )
        want = ["energy", "forces"] + ["stress"] * has_stress + sorted(asked & {"energies", "stresses"})
        want += [source for name, source in _FROM_OUTPUT.items() if source in self.potential.provides]
        try:
            found = evaluate(self.potential, system, want, graph=self._neighbours.graph(system))
        except UndefinedPropertyError as error:
            raise PropertyNotImplementedError(str(error)) from error
        refuse_not_finite(found, system)
        arrays = {name: value.cpu().double().numpy() for name, value in found.items()}
        self.results.update(energy=float(arrays["energy"][0]), free_energy=float(arrays["energy"][0]))
        self.results["forces"] = arrays["forces"]
        if has_stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(arrays["stress"][0])
            self.stress_defined = _defined_components(system)
        if "energies" in arrays:
            self.results["energies"] = arrays["energies"]
        if "stresses" in arrays:
            self.results["stresses"] = full_3x3_to_voigt_6_stress(arrays["stresses"])
        for name, source in _FROM_OUTPUT.items():
            if source in arrays:
                self.results[name] = arrays[source]


def _alike(one: ase.Atoms, other: ase.Atoms) -> bool:
    """Whether all that results depend on is the same to the last bit."""
    return (
        one.arrays.keys() == other.arrays.keys()
        and all(np.array_equal(values, other.arrays[name]) for name, values in one.arrays.items() if name != "momenta")
        and np.array_equal(one.cell.array, other.cell.array)
        and np.array_equal(one.pbc, other.pbc)
        and _conditions(one) == _conditions(other)
    )


def _conditions(atoms: ase.Atoms) -> Mapping[str, Any]:
    return {key: atoms.info[key] for key in _CONDITION_KEYS if key in atoms.info}


def _defined_components(system: System) -> NDArray[np.bool_]:
    """Voigt components whose strain lies in the periodic subspace."""
    inside = torch.diagonal(periodic_projector(system)[0]).numpy() > 1 - 1e-6
    return full_3x3_to_voigt_6_stress(np.outer(inside, inside).astype(float)) > 0.5
