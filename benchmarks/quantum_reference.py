"""What the reference engines say of well-known solids and molecules, beside values obtained earlier.

    python benchmarks/quantum_reference.py                     # all engines that are installed
    python benchmarks/quantum_reference.py --only gpaw abinit --pseudopotentials SETUPS --output labels

Lattice constants and bulk moduli come from five energies (Birch–Murnaghan), atomisation from molecule and atoms, the
response to a field from density-functional perturbation theory.
Prints asked, found and their relative difference; exit code 1 when one differs by more than its tolerance.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.eos import EquationOfState

from groundstate.atoms import GroundstateError, System
from groundstate.atoms.units import GIGAPASCAL, HARTREE
from groundstate.data import from_ase
from groundstate.quantum import GPAW, XTB, Abinit, Engine, Label, PySCF, Reference

KCAL_PER_MOL = 0.0433641
"""eV"""
WATER = ((0, 0, 0.1173), (0, 0.7572, -0.4692), (0, -0.7572, -0.4692))


@dataclass(frozen=True)
class Value:
    """One line: what was obtained earlier, what is found now, and how far they may differ, relative."""

    name: str
    asked: float
    found: float
    tolerance: float

    @property
    def difference(self) -> float:
        """Relative."""
        return self.found / self.asked - 1


def main() -> int:
    """Run what was named, print a line per value, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--output", type=Path, default=Path("quantum_reference"), help="folder that keeps the labels")
    parser.add_argument("--pseudopotentials", default="", help="GPAW's setups, for abinit: …/gpaw_data/setups")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(f"{'value':<44}{'asked':>16}{'found':>16}{'relative':>12}")
    wrong = 0
    for part in options.only:
        try:
            for value in PARTS[part](options):
                bad = abs(value.difference) > value.tolerance
                wrong += bad
                line = f"{value.name:<44}{value.asked:>16.6f}{value.found:>16.6f}{value.difference:>12.1e}"
                print(line + ("  DIFFERS" if bad else ""), flush=True)
        except GroundstateError as error:
            print(f"{part}: {error}")
            wrong += 1
    return 1 if wrong else 0


def labelled(engine: Engine, structures: list[System], options: argparse.Namespace, *want: str) -> list[Label]:
    """The labels; the first failure ends this part."""
    with Reference(engine, folder=options.output, want=want, threads=options.threads) as reference:
        labels = reference.compute(structures)
    for label in labels:
        if label.problem is not None:
            raise label.problem
    seconds = sum(label.seconds for label in labels)
    print(f"  {labels[0].theory.label} {labels[0].theory.code}: {len(labels)} calculations, {seconds:.0f} s")
    return labels


def gpaw(options: argparse.Namespace) -> Iterator[Value]:
    """Equations of state of silicon and magnesium oxide, PBE."""
    silicon = GPAW(cutoff_eV=350.0, k_mesh=(6, 6, 6), energy="extrapolated")
    oxide = GPAW(k_mesh=(6, 6, 6), energy="extrapolated")
    for name, lattice, engine, start, asked in (
        ("Si", "diamond", silicon, 5.47, (5.477, 89.0)),
        ("MgO", "rocksalt", oxide, 4.25, (4.255, 151.9)),
    ):
        crystals = [bulk(name, lattice, start * scale) for scale in (0.98, 0.99, 1.0, 1.01, 1.02)]
        labels = labelled(engine, [from_ase(crystal) for crystal in crystals], options, "energy")
        volumes = [crystal.get_volume() for crystal in crystals]
        volume, _, modulus = EquationOfState(volumes, [float(label.values["energy"]) for label in labels]).fit()
        yield Value(f"{name} lattice constant (Å), PBE, GPAW", asked[0], (4 * volume) ** (1 / 3), 1e-3)
        yield Value(f"{name} bulk modulus (GPa), PBE, GPAW", asked[1], modulus / GIGAPASCAL, 0.02)


def pyscf(options: argparse.Namespace) -> Iterator[Value]:
    """Atomisation of dioxygen, PBE; water by coupled cluster."""
    molecule = System.single([[0, 0, 0], [0, 0, 1.2075]], [8, 8], multiplicity=3)
    atom = System.single([[0, 0, 0]], [8], multiplicity=3)
    two, one = labelled(PySCF("PBE"), [molecule, atom], options, "energy")
    atomisation = (2 * float(one.values["energy"]) - float(two.values["energy"])) / KCAL_PER_MOL
    yield Value("O2 atomisation (kcal/mol), PBE, PySCF", 143.96, atomisation, 2e-3)
    (water,) = labelled(PySCF("CCSD(T)"), [System.single(WATER, [8, 1, 1])], options, "energy")
    energy = float(water.values["energy"]) / HARTREE
    yield Value("water (Ha), CCSD(T)/cc-pVTZ, PySCF", -76.332194, energy, 1e-6 / 76.3)


def xtb(options: argparse.Namespace) -> Iterator[Value]:
    """The energy of water that tblite's own documentation prints, at its geometry (ASE's G2 water)."""
    from ase.build import molecule

    (water,) = labelled(XTB(accuracy=1.0), [from_ase(molecule("H2O"))], options, "energy")
    yield Value("water (eV), GFN2-xTB, tblite", -137.96777594361677, float(water.values["energy"]), 1e-7)


def abinit(options: argparse.Namespace) -> Iterator[Value]:
    """Born charges, ε∞ and the LO–TO gap of magnesium oxide, PBE."""
    shifts = ((0.5, 0.5, 0.5), (0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5))
    engine = Abinit(
        "PBE", options.pseudopotentials, cutoff_Ha=24.0, k_mesh=(3, 3, 3), k_shifts=shifts, allow_coarse=True
    )
    want = (
        "born_charges",
        "dielectric_tensor",
        "neutrality_violation",
        "phonon_frequencies_TO",
        "phonon_frequencies_LO",
    )
    (label,) = labelled(engine, [from_ase(bulk("MgO", "rocksalt", 4.255))], options, *want)
    values = {name: np.asarray(value) for name, value in label.values.items()}
    print(f"  violation of Σ Z* = 0: {float(values['neutrality_violation']):.4f} e")
    yield Value("MgO Z* of Mg (e), PBE, ABINIT", 1.980, float(values["born_charges"][0, 0, 0]), 2e-3)
    yield Value("MgO Z* of O (e), PBE, ABINIT", -1.980, float(values["born_charges"][1, 0, 0]), 2e-3)
    yield Value("MgO ε∞, PBE, ABINIT", 3.208, float(values["dielectric_tensor"][0, 0]), 2e-3)
    yield Value("MgO TO (cm⁻¹), PBE, ABINIT", 367.0, float(values["phonon_frequencies_TO"].max()), 3e-3)
    yield Value("MgO LO (cm⁻¹), PBE, ABINIT", 677.0, float(values["phonon_frequencies_LO"].max()), 3e-3)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Value]]] = {
    "xtb": xtb,
    "pyscf": pyscf,
    "abinit": abinit,
    "gpaw": gpaw,
}

if __name__ == "__main__":
    sys.exit(main())
