"""Magnesium oxide from a structure to its phonons, elastic constants and thermal expansion, with a report.

    python examples/phonons/study.py --output mgo [--quick]

A universal model relaxes MgO and gives its equation of state, elastic constants, phonons with the splitting of
longitudinal from transverse modes (published Born charges), and thermal expansion in the quasi-harmonic approximation;
every number stands beside experiment. Some minutes on one core; a repeated call continues an interrupted one. `--quick`
uses supercells too small to be right and takes seconds.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ase.build import bulk
from rich.console import Console

import groundstate as gs
from groundstate import zoo
from groundstate.atoms.units import BOLTZMANN
from groundstate.report import Page, bands, curves, provenance
from groundstate.simulation import progress_bar
from groundstate.simulation.properties import PER_CM, DielectricResponse, EOSConfig, PhononConfig

BORN = DielectricResponse.isotropic([1.98, 1.98, 1.98, 1.98, -1.98, -1.98, -1.98, -1.98], 3.2, "published, rounded")
"""Of rock salt MgO, magnesium first: Z* of perturbation theory, ε∞ between that (3.38) and experiment (2.95)."""
EXPERIMENT = {
    "lattice constant (Å)": (4.212, "300 K"),
    "bulk modulus (GPa)": (163.2, "Sinogeikin and Bass 2000"),
    "C11 (GPa)": (297.9, "Sinogeikin and Bass 2000"),
    "C12 (GPa)": (95.8, "Sinogeikin and Bass 2000"),
    "C44 (GPa)": (154.4, "Sinogeikin and Bass 2000"),
    "TO at Γ (cm⁻¹)": (401.0, "Jasperse et al. 1966"),
    "LO at Γ (cm⁻¹)": (718.0, "Jasperse et al. 1966"),
    "linear expansion, 300 K (10⁻⁶/K)": (10.4, "Anderson and Isaak 1995"),
    "C_p, 300 K (k_B per cell)": (4.48, "JANAF"),
}
console = Console()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--output", type=Path, default=Path("mgo"), help="folder for everything that is made")
    arguments.add_argument("--quick", action="store_true", help="tiny supercells, to see that everything runs")
    options = arguments.parse_args()
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    model = gs.load(zoo.load("chgnet", precision="float64"))
    console.print(f"Model: [bold]{model.id}[/bold], float64")
    crystal = ordered()
    repeats = 1 if options.quick else 2
    supercell = ((repeats, 0, 0), (0, repeats, 0), (0, 0, repeats))
    tolerance = 1e-3 if options.quick else 1e-4
    static = run(
        "equation of state", gs.eos, crystal, model, folder, points=5 if options.quick else 9, force_tolerance=tolerance
    )
    crystal = static.system
    stiff = run(
        "elastic constants", gs.elastic, crystal, model, folder, relax_ions=not options.quick, force_tolerance=tolerance
    )
    waves = run(
        "phonons",
        gs.phonons,
        crystal,
        model,
        folder,
        dielectric=BORN,
        supercell=supercell,
        mesh_length=20.0 if options.quick else 60.0,
        points_per_segment=11 if options.quick else 51,
    )
    harmonic = PhononConfig(supercell=supercell, mesh_length=20.0 if options.quick else 60.0, points_per_segment=11)
    volumes = EOSConfig(lowest=0.97, highest=1.07, points=5 if options.quick else 7, force_tolerance=tolerance)
    heated = run(
        "thermal expansion",
        gs.thermal_expansion,
        crystal,
        model,
        folder,
        dielectric=BORN,
        phonons=harmonic,
        volumes=volumes,
        highest_K=500.0 if options.quick else 1000.0,
    )
    rows = compared(static, stiff, waves, heated)
    for name, here, measured, source in rows:
        console.print(f"{name:<36}{here:>10.4g}{measured:>10.4g}  {source}")
    page = report(rows, [static, stiff, waves, heated], options.quick, time.perf_counter() - start)
    page.facts(provenance(model.potential, packages=("phonopy", "spglib", "seekpath")))
    path = page.write(folder / "report.html")
    console.print(f"\nReport: [bold]{path}[/bold]   ({time.perf_counter() - start:.0f} s)")


def ordered() -> gs.System:
    """Conventional cell of MgO, magnesium first."""
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    (crystal,) = gs.api.systems(atoms[sorted(range(8), key=lambda i: -atoms.numbers[i])])
    return crystal


def run(name: str, verb: Any, crystal: gs.System, model: Any, folder: Path, **options: Any) -> Any:
    """One property with a bar, in its own folder; the outcome."""
    with progress_bar(name) as progress:
        (outcome,) = verb(crystal, model, output=folder / name.replace(" ", "_"), progress=progress, **options)
    for note in outcome.notes:
        console.print(f"{name}: {note}", style="yellow", markup=False)
    if outcome.problem is not None:
        console.print(str(outcome.problem), style="bold red", markup=False)
    return outcome


def compared(static: Any, stiff: Any, waves: Any, heated: Any) -> list[tuple[str, float, float, str]]:
    """Every number beside experiment; what was refused is left out."""
    found: dict[str, float] = {}
    if static.value:
        found |= {"lattice constant (Å)": static.value.lengths[0]}
        found |= {"bulk modulus (GPa)": static.value.best.bulk_modulus_GPa}
    if stiff.value:
        c = stiff.value.constants
        found |= {f"C{i}{j} (GPa)": float(c[i - 1, j - 1]) for i, j in ((1, 1), (1, 2), (4, 4))}
    if waves.value:
        modes = waves.value.gamma_directions_THz[0] * PER_CM
        found |= {"TO at Γ (cm⁻¹)": float(modes[3]), "LO at Γ (cm⁻¹)": float(modes[5])}
    if heated.value:
        at = int((heated.value.temperatures_K - 300).abs().argmin())
        found["linear expansion, 300 K (10⁻⁶/K)"] = float(heated.value.expansion[at]) * 1e6 / 3
        found["C_p, 300 K (k_B per cell)"] = float(heated.value.heat_capacity_P[at]) / BOLTZMANN
    return [(name, found[name], *EXPERIMENT[name]) for name in EXPERIMENT if name in found]


def report(rows: Sequence[tuple[str, float, float, str]], outcomes: Sequence[Any], quick: bool, seconds: float) -> Page:
    """The page."""
    static, _, waves, heated = outcomes
    page = Page("Magnesium oxide", lead="Equation of state, elastic constants, phonons and thermal expansion")
    if quick:
        page.text("A quick run: the supercells are too small for these numbers to mean anything.", note=True)
    page.table(("property", "here", "measured", "source"), rows, caption=f"{seconds:.0f} s on this machine")
    if static.value:
        fine = torch.linspace(float(static.value.volumes[0]), float(static.value.volumes[-1]), 101, dtype=torch.float64)
        series = {"computed": (static.value.volumes, static.value.energies)}
        series |= {form: (fine, torch.from_numpy(f.energies_at(fine))) for form, f in static.value.fits.items()}
        page.heading("Equation of state")
        page.figure(curves(series, "volume (Å³ per 8 atoms)", "energy (eV)"), "Energy against volume")
    if waves.value:
        levels = {"measured TO": 401 / PER_CM, "measured LO": 718 / PER_CM}
        page.heading("Phonons")
        picture = bands(waves.value.bands, waves.value.spectrum, levels)
        page.figure(picture, "Bands with the field of the longitudinal modes, and density of states")
    if heated.value:
        value = heated.value
        page.heading("Thermal expansion")
        linear = value.expansion * 1e6 / 3
        page.figure(
            curves({"here": (value.temperatures_K, linear)}, "temperature (K)", "linear expansion (10⁻⁶/K)"),
            "Linear expansion",
            {"temperature_K": value.temperatures_K.tolist(), "alpha": linear.tolist()},
        )
    for outcome in outcomes:
        for note in outcome.notes:
            page.text(note, note=True)
        if outcome.problem is not None:
            page.text(str(outcome.problem), note=True)
    return page


if __name__ == "__main__":
    main()
