"""mace-torch relaxing crystals one by one with ASE; run by `relax_speed.py` in mace-torch's environment.

One JSON document on standard input, one line of JSON per crystal into the file it names.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import covalent_radii
from ase.stress import full_3x3_to_voigt_6_stress

CUTOFF, DEPTH, STEEPNESS, REACH = 6.0, 0.3, 1.5, 1.1
"""Å, eV, 1/Å, and rest lengths in sums of covalent radii."""


def radii() -> np.ndarray:
    """Covalent radii by atomic number, Å."""
    return np.array(covalent_radii)


class WithMorse(Calculator):
    """mace-torch's calculator and the pair potential; `pair_s` is the processor's time for the latter."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, mace: Calculator) -> None:
        super().__init__()
        self.mace, self.pair_s = mace, 0.0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.mace.calculate(atoms, ["energy", "forces", "stress"], all_changes)
        clock = time.process_time()
        energy, forces, stress = morse(atoms)
        self.pair_s += time.process_time() - clock
        found = self.mace.results
        self.results = {
            "energy": found["energy"] + energy,
            "forces": found["forces"] + forces,
            "stress": found["stress"] + stress,
        }


def morse(atoms: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """D(x² − 2x)(1 − (r/r_c)²)³ over all pairs: energy, forces, stress (Voigt)."""
    from matscipy.neighbours import neighbour_list

    i, j, r, vectors = neighbour_list("ijdD", atoms, CUTOFF)
    size = radii()[atoms.numbers]
    x = np.exp(-STEEPNESS * (r - REACH * (size[i] + size[j])))
    inner = 1 - (r / CUTOFF) ** 2
    well, fade = DEPTH * (x**2 - 2 * x), inner**3
    slope = DEPTH * 2 * STEEPNESS * (x - x**2) * fade - well * 6 * r / CUTOFF**2 * inner**2
    pull = (slope / r)[:, None] * vectors
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, 0.5 * pull)
    np.add.at(forces, j, -0.5 * pull)
    virial = 0.5 * np.einsum("ei,ej->ij", pull, vectors) / atoms.get_volume()
    return float(0.5 * (well * fade).sum()), forces, full_3x3_to_voigt_6_stress(virial)


def main() -> None:
    """Relax until the time is used up."""
    sys.path.insert(0, str(Path(__file__).with_name("speed")))
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE, LBFGS
    from peer_mace import Mace
    from worker import structure

    asked = json.load(sys.stdin)
    optimiser_type = {"FIRE": FIRE, "LBFGS": LBFGS}[asked["optimiser"]]
    calculator = WithMorse(Mace(asked["settings"]).calculator())
    for plain in asked["crystals"][:2]:  # just-in-time compilers settle
        atoms = structure(plain)
        calculator.calculate(atoms)
    started = time.perf_counter()
    with Path(asked["answers"]).open("w", buffering=1) as answers:
        for plain in asked["crystals"]:
            if time.perf_counter() - started > asked["budget_s"]:
                break
            atoms, clock, calculator.pair_s = structure(plain), time.process_time(), 0.0
            atoms.calc = calculator
            optimiser = optimiser_type(FrechetCellFilter(atoms), logfile=None)
            converged = bool(optimiser.run(fmax=asked["tolerance"], steps=asked["steps"]))
            spent = time.process_time() - clock - calculator.pair_s
            found = {"energy": float(atoms.get_potential_energy()), "volume": float(atoms.get_volume())}
            print(
                json.dumps(found | {"converged": converged, "steps": optimiser.nsteps, "seconds": spent}), file=answers
            )


if __name__ == "__main__":
    main()
