"""Liquid water with a universal model: how far its structure and diffusion are from the liquid.

    python examples/water/study.py --output water

64 molecules at 0.997 g/cm³ and 300 K, 0.5 fs, stochastic velocity rescaling. The oxygen–oxygen distribution is drawn
beside what X-ray diffraction found; diffusion, spectrum and angles come from the same trajectory. A repeated call
continues an interrupted run, `--steps` prolongs a finished one.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import groundstate as gs
from groundstate.api import LoadedModel
from groundstate.atoms import GroundstateError
from groundstate.report import Page, curves, structures
from groundstate.report.provenance import provenance
from groundstate.simulation import MDResult, progress_bar
from groundstate.simulation.analysis import (
    Pairs,
    Trajectory,
    angular_distribution,
    diffusivity,
    msd,
    rdf,
    vibrational_spectrum,
)

MEASURED_GOO = {"first maximum": (2.80, 2.57), "first minimum": (3.45, 0.84), "second maximum": (4.5, 1.12)}
"""Distance Å and height by X-ray diffraction at 295 K: Skinner et al., J. Chem. Phys. 138, 074506 (2013)."""
MEASURED_DIFFUSIVITY = 2.3e-9
"""m²/s at 298 K: Holz, Heil & Sacco, Phys. Chem. Chem. Phys. 2, 4740 (2000)."""
SEARCHED = {"first maximum": (2.4, 3.2), "first minimum": (3.0, 4.0), "second maximum": (3.8, 5.2)}
"""Å, where each extremum is looked for."""
DENSITY_g_per_cm3 = 0.997
MOLECULES = 64
console = Console()


def liquid(molecules: int, seed: int = 0) -> gs.System:
    """Molecules of the gas's geometry on a lattice, turned at random, in a cube of the liquid's density."""
    side = (molecules * 18.015 / 0.602214076 / DENSITY_g_per_cm3) ** (1 / 3)
    per_edge = math.ceil(molecules ** (1 / 3) - 1e-9)
    generator = np.random.default_rng(seed)
    half = math.radians(104.52) / 2
    arms = 0.9572 * np.array([[0, 0, 0], [math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]])
    places = np.argwhere(np.ones((per_edge,) * 3)) * side / per_edge
    chosen = places[generator.permutation(len(places))[:molecules]]
    positions = np.concatenate([place + arms @ _rotation(generator) for place in chosen])
    return gs.System.single(positions, [8, 1, 1] * molecules, cell=side * np.eye(3), pbc=True)


def _rotation(generator: np.random.Generator) -> np.ndarray:
    """Uniform over all orientations: the orthogonal factor of a Gaussian matrix."""
    q, r = np.linalg.qr(generator.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def simulate(model: LoadedModel, folder: Path, molecules: int, steps: int) -> MDResult:
    """The trajectory, on disk every 3 fs, which is often enough for the vibrations of O–H."""
    with progress_bar(f"{molecules} H2O, {steps * 0.5e-3:g} ps") as progress:
        (result,) = gs.md(
            liquid(molecules),
            model,
            steps=steps,
            timestep_fs=0.5,
            temperature_K=300.0,
            ensemble="csvr",
            thermostat_fs=100.0,
            record_every=10,
            trajectory_every=6,
            checkpoint_every=100,
            output=folder / "run",
            progress=progress,
        )
    return result


def extrema(pairs: Pairs) -> dict[str, tuple[float, float]]:
    """Distance and height of the extrema of g_OO, each in its own range."""
    found = {}
    for name, (low, high) in SEARCHED.items():
        chosen = (pairs.distance >= low) & (pairs.distance <= high)
        r, g = pairs.distance[chosen], pairs.g["O", "O"][chosen]
        k = int(g.argmin() if "minimum" in name else g.argmax())
        found[name] = float(r[k]), float(g[k])
    return found


def report(model: LoadedModel, result: MDResult, trajectory: Trajectory, folder: Path, seconds: float) -> Path:
    """The page: structure beside experiment, then what moves."""
    time_ps = (trajectory.time_fs - trajectory.time_fs[0]).numpy() / 1000
    page = Page(
        "Liquid water", lead=f"{result.system.n_atoms // 3} molecules, {result.time_fs / 1000:g} ps, {model.id}"
    )
    page.text(
        "CHGNet learned inorganic crystals at PBE(+U) without dispersion. Nothing here says that it should describe a"
        " molecular liquid; the page shows how far it does.",
        note=True,
    )
    pairs = rdf(trajectory, cutoff=6.0, bins=100)
    series = {"this run": (pairs.distance.numpy(), pairs.g["O", "O"].numpy())}
    measured = np.array(list(MEASURED_GOO.values()))
    series["X-ray, extrema only"] = measured[:, 0], measured[:, 1]
    data = {"distance_A": pairs.distance.tolist(), "g_OO": pairs.g["O", "O"].tolist(), "measured": MEASURED_GOO}
    page.figure(curves(series, "O–O distance (Å)", "g(r)"), "Oxygen around oxygen; experiment joined by lines", data)
    here = extrema(pairs)
    rows = [[name, *here[name], *MEASURED_GOO[name]] for name in MEASURED_GOO]
    page.table(["g_OO", "r (Å)", "height", "measured r (Å)", "measured height"], rows, caption="Skinner et al. 2013")
    bonds = float(pairs.coordination["H", "O"][int(1.2 / 0.06) - 1])
    angles = angular_distribution(trajectory, ("H", "O", "H"), cutoff=1.25)
    mean_angle = float((angles.angle * angles.density).sum() / angles.density.sum())
    page.text(f"{bonds:.3f} oxygens within 1.2 Å of a hydrogen (1 in whole molecules); mean angle {mean_angle:.1f}°.")
    squares = {name: (time_ps, values.numpy()) for name, values in msd(trajectory).items()}
    page.figure(curves(squares, "lag (ps)", "⟨r²⟩ (Å²)"), "Mean square displacement")
    summary: dict[str, Any] = {"extrema": here, "oxygens_per_hydrogen": bonds, "angle_degrees": mean_angle}
    for title, add in (("diffusivity", _diffusion), ("spectrum", _spectrum)):
        try:
            summary[title] = add(trajectory, page)
        except GroundstateError as error:
            summary[title] = error.code
            page.text(f"No {title}: {error}", note=True)
    page.figure(structures({"last frame": result.system}), "The last frame")
    page.facts(provenance(model.potential, settings={"steps": result.steps, "seconds": round(seconds), "seed": 0}))
    console.print(summary)
    return page.write(folder / "report.html")


def _diffusion(trajectory: Trajectory, page: Page) -> dict[str, Any]:
    found = {one.element: one for one in diffusivity(trajectory)}
    rows = [[name, d.diffusivity_m2_per_s, d.error_m2_per_s, d.slope, d.note] for name, d in found.items()]
    rows.append(["measured", MEASURED_DIFFUSIVITY, None, None, "Holz, Heil & Sacco 2000"])
    page.table(
        ["element", "D (m²/s)", "error", "log-log slope", "note"], rows, caption="No correction for the cell size"
    )
    return {name: (d.diffusivity_m2_per_s, d.error_m2_per_s, d.slope) for name, d in found.items()}


def _spectrum(trajectory: Trajectory, page: Page) -> dict[str, Any]:
    found = vibrational_spectrum(trajectory, resolution_per_cm=50.0)
    series = {name: (found.wavenumber.numpy(), part.numpy()) for name, part in found.by_element.items()}
    page.figure(curves(series, "wavenumber (cm⁻¹)", "modes per cm⁻¹"), "Vibrational density of states")
    high = found.wavenumber > 2500
    return {"O–H stretch (1/cm)": float(found.wavenumber[high][found.density[high].argmax()]), "note": found.note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("water"), help="folder for everything that is made")
    parser.add_argument("--model", default="chgnet", help="model that moves the atoms")
    parser.add_argument("--steps", type=int, default=10_000, help="time steps of 0.5 fs")
    parser.add_argument(
        "--quick", action="store_true", help="8 molecules and 40 steps: whether it runs, not what it is"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    molecules, steps = (8, 36) if arguments.quick else (MOLECULES, arguments.steps)
    started = time.perf_counter()
    model = gs.load(arguments.model)
    result = simulate(model, folder, molecules, steps)
    seconds = time.perf_counter() - started
    console.print(f"{result.status} after {result.steps} steps, {seconds:.0f} s {result.reason}")
    trajectory = gs.read_trajectory(folder / "run")
    # The first third only melts the lattice of the start.
    later = trajectory.part(trajectory.n_frames // 3, trajectory.n_frames)
    console.print(f"Report: {report(model, result, later, folder, seconds)}")


if __name__ == "__main__":
    main()
