"""Verbs for what moves: analyse trajectories, free energies of crystals."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from groundstate import api
from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import app, show
from groundstate.cli.tables import formula, print_rows
from groundstate.report import Page, curves
from groundstate.report.provenance import provenance
from groundstate.simulation import progress_bar
from groundstate.simulation.analysis import (
    Trajectory,
    angular_distribution,
    diffusivity,
    msd,
    rdf,
    vibrational_spectrum,
)


@app.command()
def analyse(
    run: Annotated[Path, typer.Argument(help="Folder of `groundstate md`, or an extxyz trajectory.")],
    pairs: Annotated[bool, typer.Option("--rdf", help="Radial distribution functions.")] = False,
    displacement: Annotated[bool, typer.Option("--msd", help="Mean square displacements and diffusivities.")] = False,
    spectrum: Annotated[bool, typer.Option("--spectrum", help="Vibrational density of states.")] = False,
    angles: Annotated[str, typer.Option("--angles", help="Angles of three elements, e.g. H,O,H.")] = "",
    structure: Annotated[int, typer.Option(help="Which structure of the run, from 0.")] = 0,
    cutoff: Annotated[float, typer.Option(help="Largest distance of --rdf, Å.")] = 6.0,
    angle_cutoff: Annotated[float, typer.Option(help="Length of the arms of --angles, Å.")] = 3.0,
    skip_ps: Annotated[float, typer.Option(help="Left out at the start, ps.")] = 0.0,
    interval_fs: Annotated[float | None, typer.Option(help="Between frames, where the file does not say, fs.")] = None,
    unwrap: Annotated[bool, typer.Option("--unwrap", help="Follow atoms that were folded into the cell.")] = False,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """What a trajectory says: distances, angles, diffusion, vibrations.

    `groundstate analyse run --rdf --msd --spectrum --angles H,O,H --report water.html`
    """
    if not (pairs or displacement or spectrum or angles):
        raise OptionError("E-OPTION", "nothing was asked", fix="give --rdf, --msd, --spectrum or --angles H,O,H")
    trajectory = api.read_trajectory(run, structure=structure, interval_fs=interval_fs, unwrap=unwrap)
    trajectory = _later(trajectory, skip_ps)
    page = Page("Trajectory", lead=f"{formula(trajectory.system(0))}, {_length(trajectory)}")
    record: dict[str, Any] = {"run": str(run), "frames": trajectory.n_frames}
    if pairs:
        record["rdf"] = _pairs(trajectory, cutoff, page)
    if angles:
        record["angles"] = _angles(trajectory, angles, angle_cutoff, page)
    if displacement:
        record["diffusion"] = _diffusion(trajectory, page)
    if spectrum:
        record["spectrum"] = _spectrum(trajectory, page)
    if report is not None:
        source = run / f"trajectory_{structure:05d}.extxyz" if run.is_dir() else run
        page.facts(provenance(files=[source], settings={"skip_ps": skip_ps, "cutoff": cutoff}))
        page.write(report)
    if as_json:
        show(record)
    else:
        print_rows(f"{run}", _rows(record), [])
    return 0


@app.command()
def einstein(
    files: opt.Files,
    temperature_K: Annotated[float, typer.Option("--temperature-K", help="Temperature, K.")],
    model: opt.Model = opt.DEFAULT_MODEL,
    steps: Annotated[int, typer.Option(help="Time steps of each point of the path.")] = 4000,
    discard: Annotated[int, typer.Option(help="Of these, to reach equilibrium.")] = 1000,
    timestep_fs: Annotated[float, typer.Option("--timestep-fs", help="Time step, fs.")] = 2.0,
    points: Annotated[int, typer.Option(help="Points of the path, all in one batch.")] = 7,
    spring: Annotated[
        float | None, typer.Option(help="Of the oscillators, eV/Å²; from the Hessian if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of velocities and noise.")] = 0,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Helmholtz free energy of relaxed crystals, anharmonicity included, by integration to independent oscillators.

    `groundstate einstein Cu_108.cif --temperature-K 300 --report free_energy.html`
    """
    records, names, notes = opt.read_files(files)
    loaded = api.load(model)
    bath: dict[str, Any] = {"steps": steps, "discard": discard, "timestep_fs": timestep_fs}
    with progress_bar("einstein") as progress:
        results = api.free_energy(
            [record.system for record in records],
            loaded,
            temperature_K=temperature_K,
            seed=seed,
            progress=progress,
            points=points,
            spring=spring,
            **bath,
        )
    rows = [
        {
            "structure": name,
            "F (eV)": found.helmholtz,
            "error (eV)": found.error,
            "F per atom (eV)": found.helmholtz / found.n_atoms,
            "static (eV)": found.static,
            "primitive cells": found.primitive_cells,
            "notes": [],
        }
        for name, found in zip(names, results, strict=True)
    ]
    if report is not None:
        page = Page("Free energy", lead=f"{temperature_K:g} K, {loaded.id}")
        columns = [name for name in rows[0] if name != "notes"]
        page.table(columns, [[row[name] for name in columns] for row in rows])
        path = {
            name: (np.array(found.points), np.array(found.slopes)) for name, found in zip(names, results, strict=True)
        }
        data = {name: {"lambda": x.tolist(), "slope_eV": y.tolist()} for name, (x, y) in path.items()}
        page.figure(curves(path, "λ", "⟨U − U_E⟩ (eV)", markers=True), "The path from oscillators to crystal", data)
        page.facts(
            provenance(
                loaded.potential, files=files, settings={"temperature_K": temperature_K, "points": points, **bath}
            )
        )
        page.write(report)
    if as_json:
        show({"model": loaded.id, "temperature_K": temperature_K, "notes": notes, "structures": rows})
    else:
        print_rows(f"Free energy at {temperature_K:g} K with {loaded.id}", rows, notes)
    return 0


def _later(trajectory: Trajectory, skip_ps: float) -> Trajectory:
    kept = (trajectory.time_fs >= trajectory.time_fs[0] + 1000 * skip_ps).nonzero()[:, 0]
    if len(kept) == 0:
        what = f"--skip-ps {skip_ps:g} leaves nothing of {_length(trajectory)}"
        raise OptionError("E-OPTION-RANGE", what, fix="skip less; it is in ps")
    return trajectory.part(int(kept[0]), trajectory.n_frames)


def _length(trajectory: Trajectory) -> str:
    span = float(trajectory.time_fs[-1] - trajectory.time_fs[0]) / 1000
    return f"{trajectory.n_frames} frames over {span:g} ps"


def _pairs(trajectory: Trajectory, cutoff: float, page: Page) -> dict[str, Any]:
    found = rdf(trajectory, cutoff=cutoff)
    series = {f"{a}–{b}": (found.distance.numpy(), g.numpy()) for (a, b), g in found.g.items()}
    record = {"distance_A": found.distance.tolist()}
    record |= {name: y.tolist() for name, (_, y) in series.items()}
    page.figure(curves(series, "distance (Å)", "g(r)"), "Radial distribution functions", record)
    return record


def _angles(trajectory: Trajectory, names: str, cutoff: float, page: Page) -> dict[str, Any]:
    parts = tuple(part.strip() for part in names.split(","))
    if len(parts) != 3:
        raise OptionError("E-OPTION", f"--angles {names} does not name three elements", fix="write it as H,O,H")
    found = angular_distribution(trajectory, (parts[0], parts[1], parts[2]), cutoff=cutoff)
    label = "–".join(parts)
    record = {"angle_degrees": found.angle.tolist(), label: found.density.tolist(), "count": found.count}
    series = {label: (found.angle.numpy(), found.density.numpy())}
    page.figure(curves(series, "angle (°)", "density (1/°)"), f"Angles {label} within {cutoff:g} Å", record)
    return record


def _diffusion(trajectory: Trajectory, page: Page) -> list[dict[str, Any]]:
    lags = (trajectory.time_fs - trajectory.time_fs[0]).numpy() / 1000
    squares = {name: (lags, values.numpy()) for name, values in msd(trajectory).items()}
    data = {name: {"lag_ps": x.tolist(), "msd_A2": y.tolist()} for name, (x, y) in squares.items()}
    page.figure(curves(squares, "lag (ps)", "⟨r²⟩ (Å²)"), "Mean square displacement", data)
    rows = [
        {
            "element": one.element,
            "D (m²/s)": one.diffusivity_m2_per_s,
            "error (m²/s)": one.error_m2_per_s,
            "log-log slope": one.slope,
            "note": one.note,
        }
        for one in diffusivity(trajectory)
    ]
    page.table(list(rows[0]), [list(row.values()) for row in rows], caption="Diffusivities, with errors over blocks")
    return rows


def _spectrum(trajectory: Trajectory, page: Page) -> dict[str, Any]:
    found = vibrational_spectrum(trajectory)
    busy = np.nonzero(found.density.numpy() > 1e-3 * float(found.density.max()))[0]
    shown = slice(0, int(busy[-1]) + 2)
    wave = found.wavenumber[shown]
    series: dict[str, tuple[Any, Any]] = {"all": (wave.numpy(), found.density[shown].numpy())}
    series |= {name: (wave.numpy(), part[shown].numpy()) for name, part in found.by_element.items()}
    record: dict[str, Any] = {"wavenumber_per_cm": wave.tolist()}
    record |= {name: y.tolist() for name, (_, y) in series.items()}
    figure: Figure = curves(series, "wavenumber (cm⁻¹)", "modes per cm⁻¹")
    page.figure(figure, "Vibrational density of states, integral 3N", record)
    if found.note:
        page.text(found.note, note=True)
    return {**record, "note": found.note}


def _rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of a terminal: peaks, and diffusivities."""
    rows = []
    for kind, axis in (("rdf", "distance_A"), ("angles", "angle_degrees"), ("spectrum", "wavenumber_per_cm")):
        table = record.get(kind, {})
        for name, values in table.items():
            if name != axis and isinstance(values, list):
                top = int(np.argmax(values))
                text = f"highest at {table[axis][top]:.4g}: {values[top]:.4g}"
                rows.append({"of": kind, "what": name, "value": text, "notes": []})
    for one in record.get("diffusion", []):
        text = f"D = {one['D (m²/s)']:.3g} ± {one['error (m²/s)']:.2g} m²/s"
        rows.append(
            {"of": "diffusion", "what": one["element"], "value": text, "notes": [one["note"]] * bool(one["note"])}
        )
    for row in rows:
        row["structure"] = row["what"]
    return [{key: row[key] for key in ("structure", "of", "value", "notes")} for row in rows]
