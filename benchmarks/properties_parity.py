"""Properties computed here against the same model through its authors' ASE calculator, phonopy and differences by hand.

    python benchmarks/properties_parity.py [--roughness] [--only MgO Si]

Both sides use the same published weights in float64 and the same stated strains, volumes and displacements, so what is
compared is the code. The other side shares nothing with ours: the lattice constant is the root of the hydrostatic
stress, the bulk modulus ASE's Birch–Murnaghan fit, the elastic constants differences of ASE's stresses (ions relaxed by
ASE's BFGS where symmetry lets them move), the phonons a phonopy script. Relative differences are printed; exit code 1
when one exceeds 1e-3. `--roughness` prints what other strains and displacements give: how far the model itself is from
smooth on that scale, which no code can mend.
"""

import argparse
import sys
import time
import warnings

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState
from ase.optimize import BFGS
from ase.units import GPa
from scipy.optimize import brentq

from groundstate import zoo
from groundstate.atoms import System
from groundstate.data import from_ase
from groundstate.potentials import Potential
from groundstate.simulation.properties import (
    ElasticConfig,
    EOSConfig,
    PhononConfig,
    elastic_tensor,
    equation_of_state,
    frequencies,
    phonons,
)

LIMIT = 1e-3
CRYSTALS = {
    "MgO": ("rocksalt", 4.22),
    "Si": ("diamond", 5.45),
    "Cu": ("fcc", 3.60),
    "NaCl": ("rocksalt", 5.65),
    "Al": ("fcc", 4.05),
}
RATIOS = np.linspace(0.94, 1.06, 9)
STRAIN, DISPLACEMENT, TOLERANCE = 0.01, 0.01, 1e-5
X_POINT = [0.5, 0.0, 0.5]
Values = dict[str, float]


def main() -> int:
    """Both sides, one table per crystal, the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", default=list(CRYSTALS), choices=list(CRYSTALS))
    parser.add_argument("--roughness", action="store_true", help="also other strains and displacements, ours only")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    crystals = {name: bulk(name, CRYSTALS[name][0], a=CRYSTALS[name][1], cubic=True) for name in options.only}
    potential, calculator = zoo.load("chgnet", precision="float64"), authors_calculator()
    started = time.perf_counter()
    ours = computed_here(crystals, potential)
    our_time = time.perf_counter() - started
    warnings.simplefilter("ignore")  # of the authors' calculator, at every call
    started = time.perf_counter()
    theirs = {name: computed_by_hand(atoms, calculator) for name, atoms in crystals.items()}
    their_time = time.perf_counter() - started
    worst = 0.0
    print(f"{'crystal':<8}{'property':<18}{'here':>14}{'ASE, phonopy':>14}{'relative':>12}")
    for name in crystals:
        for key, value in theirs[name].items():
            difference = abs(ours[name][key] / value - 1)
            worst = max(worst, difference)
            over = "  OVER" if difference > LIMIT else ""
            print(f"{name:<8}{key:<18}{ours[name][key]:>14.6g}{value:>14.6g}{difference:>12.1e}{over}")
    print(f"\nlargest relative difference {worst:.1e}, limit {LIMIT:g}")
    print(f"seconds: here {our_time:.0f}, one by one through ASE {their_time:.0f}")
    if options.roughness:
        roughness(crystals, potential)
    return 0 if worst <= LIMIT else 1


def computed_here(
    crystals: dict[str, Atoms], potential: Potential, strain: float = STRAIN, displacement: float = DISPLACEMENT
) -> dict[str, Values]:
    """All crystals in one call per property."""
    batch = System.batch([from_ase(atoms) for atoms in crystals.values()])
    eos = EOSConfig(RATIOS[0], RATIOS[-1], len(RATIOS), force_tolerance=TOLERANCE)
    elastic = ElasticConfig(
        strain=strain, force_tolerance=TOLERANCE, symmetrise=False, largest_curvature=10.0, largest_stress_GPa=0.1
    )
    lattice = PhononConfig(
        supercell=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        displacement=displacement,
        force_tolerance=TOLERANCE,
        mesh_length=15.0,
        points_per_segment=5,
    )
    curves = [outcome.unwrap() for outcome in equation_of_state(batch, potential, eos)]
    tensors = [outcome.unwrap().constants for outcome in elastic_tensor(batch, potential, elastic)]
    waves = [outcome.unwrap().lattice for outcome in phonons(batch, potential, lattice)]
    q = torch.tensor([[0.0, 0.0, 0.0], X_POINT], dtype=torch.float64)
    found = {}
    for name, curve, c, wave in zip(crystals, curves, tensors, waves, strict=True):
        edge = float(wave.cell.volume[0]) ** (1 / 3)
        values = {"a0 (Å)": edge, "B (GPa)": curve.best.bulk_modulus_GPa}
        values |= {"C11 (GPa)": float(c[0, 0]), "C12 (GPa)": float(c[0, 1]), "C44 (GPa)": float(c[3, 3])}
        found[name] = values | named(frequencies(wave, q)[0].numpy())
    return found


def named(at_gamma_and_x: np.ndarray) -> Values:
    """Optical modes at Γ where there are any, all modes at X; THz."""
    gamma, x_point = (np.sort(row) for row in at_gamma_and_x)
    values = {f"Γ {k} (THz)": float(f) for k, f in enumerate(gamma) if k >= 3}
    return values | {f"X {k} (THz)": float(f) for k, f in enumerate(x_point)}


def authors_calculator() -> Calculator:
    """CHGNet's own calculator in float64, by changing its one constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import chgnet.graph.converter
        import chgnet.graph.crystalgraph
        import chgnet.model.model
        from chgnet.model.dynamics import CHGNetCalculator

        calculator = CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore")
        for module in (chgnet.graph.converter, chgnet.graph.crystalgraph, chgnet.model.model):
            module.TORCH_DTYPE = torch.float64
        calculator.model.to(torch.float64)
        calculator.model.composition_model.float()
        return calculator


def computed_by_hand(atoms: Atoms, calculator: Calculator) -> Values:
    """One crystal through ASE."""
    edge = brentq(lambda a: pressure(atoms, a, calculator), 0.95 * edge_of(atoms), 1.05 * edge_of(atoms), xtol=1e-9)
    crystal = with_edge(atoms, edge)
    energies, volumes = [], []
    for ratio in RATIOS:
        scaled = with_edge(atoms, edge * ratio ** (1 / 3))
        scaled.calc = calculator
        volumes.append(scaled.get_volume())
        energies.append(scaled.get_potential_energy())
    modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)[2] / GPa
    along, shear = (column(crystal, j, calculator) for j in (0, 3))
    values = {"a0 (Å)": edge, "B (GPa)": modulus}
    values |= {"C11 (GPa)": along[0], "C12 (GPa)": along[1], "C44 (GPa)": shear[3]}
    return values | named(by_phonopy(crystal, calculator))


def edge_of(atoms: Atoms) -> float:
    return float(atoms.cell.lengths()[0])


def with_edge(atoms: Atoms, edge: float) -> Atoms:
    scaled = atoms.copy()
    scaled.set_cell(np.eye(3) * edge, scale_atoms=True)
    return scaled


def pressure(atoms: Atoms, edge: float, calculator: Calculator) -> float:
    scaled = with_edge(atoms, edge)
    scaled.calc = calculator
    return -float(np.mean(scaled.get_stress()[:3]))


def column(crystal: Atoms, j: int, calculator: Calculator) -> np.ndarray:
    """∂σ/∂ε_j in GPa, Voigt, from strains of ±STRAIN and ±STRAIN/2, extrapolated."""
    slopes = []
    for size in (STRAIN, STRAIN / 2):
        stresses = []
        for sign in (1, -1):
            deformation = np.eye(3)
            a, b = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[j]
            deformation[a, b] += sign * size * (1.0 if a == b else 0.5)
            deformation[b, a] = deformation[a, b]
            strained = crystal.copy()
            strained.set_cell(crystal.cell.array @ deformation, scale_atoms=True)
            strained.calc = calculator
            BFGS(strained, logfile=None).run(fmax=TOLERANCE, steps=500)
            stresses.append(strained.get_stress() / GPa)
        slopes.append((stresses[0] - stresses[1]) / (2 * size))
    return (4 * slopes[1] - slopes[0]) / 3


def by_phonopy(crystal: Atoms, calculator: Calculator) -> np.ndarray:
    """Frequencies at Γ and X, THz, one displaced supercell after another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms

        cell = PhonopyAtoms(
            symbols=crystal.get_chemical_symbols(),
            scaled_positions=crystal.get_scaled_positions(),
            cell=crystal.cell.array,
            masses=crystal.get_masses(),
        )
        phonon = Phonopy(cell, supercell_matrix=np.diag([2, 2, 2]), primitive_matrix="F")
        phonon.generate_displacements(distance=DISPLACEMENT)
        forces = []
        for displaced in phonon.supercells_with_displacements:
            atoms = Atoms(displaced.symbols, positions=displaced.positions, cell=displaced.cell, pbc=True)
            atoms.calc = calculator
            forces.append(atoms.get_forces())
        phonon.forces = np.array(forces)
        phonon.produce_force_constants()
        phonon.symmetrize_force_constants()
        return np.array(phonon.run_qpoints([[0, 0, 0], X_POINT]).frequencies)


def roughness(crystals: dict[str, Atoms], potential: Potential) -> None:
    """How the values move with strain and displacement: an exactly harmonic surface would give one number."""
    print("\nroughness of the model: values at other strains and displacements (Å)")
    for strain, displacement in ((0.0025, 0.0025), (0.005, 0.005), (0.01, 0.01), (0.02, 0.03)):
        found = computed_here(crystals, potential, strain, displacement)
        for name, values in found.items():
            shown = {key: round(v, 3) for key, v in values.items() if key[:2] in ("C1", "C4") or "3 " in key}
            print(f"{name:<8}strain {strain:<8g}displacement {displacement:<8g}{shown}")


if __name__ == "__main__":
    sys.exit(main())
