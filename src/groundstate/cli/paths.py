"""Verbs about ways between minima: neb, saddle."""

from pathlib import Path
from typing import Annotated, Any

import typer

from groundstate import api
from groundstate.atoms import System
from groundstate.cli import options as opt
from groundstate.cli.app import app
from groundstate.cli.tables import show_rows, tabulate
from groundstate.potentials import Potential
from groundstate.report import Page, curves, provenance, structures
from groundstate.simulation import progress_bar
from groundstate.simulation.paths import NEBResult, SaddleResult


@app.command()
def neb(
    start: Annotated[Path, typer.Argument(help="Where paths begin: a file of one or more structures.")],
    end: Annotated[Path, typer.Argument(help="Where they end: as many structures, atoms in the same order.")],
    model: opt.Model = opt.DEFAULT_MODEL,
    images: Annotated[int, typer.Option(help="Images between the ends.")] = 7,
    interpolation: Annotated[str, typer.Option(help="First guess: idpp or linear.")] = "idpp",
    force_tolerance: Annotated[float, typer.Option(help="Largest band force at the end, eV/Å.")] = 0.03,
    max_steps: Annotated[int, typer.Option(help="Steps before a path ends unconverged.")] = 500,
    climb: Annotated[bool, typer.Option(help="Drive the highest image to the saddle.")] = True,
    relax_ends: Annotated[bool, typer.Option("--relax-ends", help="Relax start and end first.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Count the negative modes of the saddle.")] = False,
    fixed_atoms: opt.FixedAtoms = "",
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Minimum energy paths and barriers by the climbing elastic band, all images in one batch.

    Each atom takes its shortest way over the boundaries; files that do not hold the same atoms in the same order are
    refused. With `--output` the same command continues after an interruption.

    `groundstate neb reactant.cif product.cif --relax-ends --verify --report path.html`
    """
    (starts, names, notes), (ends, _, more) = opt.read_files([start]), opt.read_files([end])
    loaded, batch = api.load(model), System.batch([record.system for record in starts])
    with progress_bar("neb") as progress:
        results = api.neb(
            batch,
            [record.system for record in ends],
            loaded,
            fixed_atoms=opt.atom_mask(fixed_atoms, batch),
            output=folder,
            progress=progress,
            images=images,
            interpolation=interpolation,
            force_tolerance=force_tolerance,
            max_steps=max_steps,
            climb=climb,
            relax_ends=relax_ends,
            verify=verify,
        )
    rows = [_path_row(name, result) for name, result in zip(names, results, strict=True)]
    if report is not None:
        _path_report(report, loaded.potential, rows, results, [start, end])
    show_rows(loaded.id, "paths", rows, [*notes, *more], as_json)
    return 0 if all(result.converged for result in results) else 1


@app.command()
def saddle(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    searches: Annotated[int, typer.Option(help="Searches from each structure, each along its own random mode.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the random modes.")] = 0,
    force_tolerance: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.02,
    max_steps: Annotated[int, typer.Option(help="Steps before a search ends unconverged.")] = 500,
    displacement: Annotated[float, typer.Option(help="First push along the mode, Å.")] = 0.1,
    fixed_atoms: opt.FixedAtoms = "",
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Saddle points near structures by the dimer method, all searches in one batch.

    `groundstate saddle minimum.cif --searches 8 --report saddles.html`
    """
    records, names, notes = opt.read_files(files)
    loaded = api.load(model)
    batch = System.batch([record.system for record in records for _ in range(searches)])
    labels = [f"{name} #{k}" if searches > 1 else name for name in names for k in range(searches)]
    with progress_bar("saddle") as progress:
        results = api.saddle(
            batch,
            loaded,
            fixed_atoms=opt.atom_mask(fixed_atoms, batch),
            output=folder,
            progress=progress,
            seed=seed,
            force_tolerance=force_tolerance,
            max_steps=max_steps,
            displacement=displacement,
        )
    rows = [_saddle_row(name, result) for name, result in zip(labels, results, strict=True)]
    if report is not None:
        page = Page("Saddle points", lead=f"{sum(r.converged for r in results)} of {len(results)} searches converged")
        tabulate(page, rows)
        found = {name: r.system for name, r in zip(labels, results, strict=True) if r.converged}
        if found:
            page.figure(structures(dict(list(found.items())[:4])), "Saddle points found")
        page.facts(provenance(loaded.potential, files=files, settings=dict(results[0].record["config"])))
        page.write(report)
    show_rows(loaded.id, "searches", rows, notes, as_json)
    return 0 if all(result.converged for result in results) else 1


def _path_row(name: str, result: NEBResult) -> dict[str, Any]:
    return {
        "path": name,
        "status": result.status,
        "barrier forward (eV)": result.barrier_forward,
        "barrier backward (eV)": result.barrier_backward,
        "reaction energy (eV)": result.reaction_energy,
        "largest band force (eV/Å)": result.max_force,
        "negative modes": None if result.modes is None else result.modes.negative,
        "steps": result.steps,
        "reason": f"{result.code}: {result.reason}" if result.code else "",
        "notes": [*result.warnings, *result.notes],
    }


def _saddle_row(name: str, result: SaddleResult) -> dict[str, Any]:
    return {
        "search": name,
        "status": result.status,
        "barrier (eV)": result.barrier,
        "curvature (eV/Å²)": result.curvature,
        "largest force (eV/Å)": result.max_force,
        "negative modes": result.negative,
        "steps": result.steps,
        "reason": f"{result.code}: {result.reason}" if result.code else "",
        "notes": [*result.warnings, *result.notes],
    }


def _path_report(
    path: Path, potential: Potential, rows: list[dict[str, Any]], results: list[NEBResult], files: list[Path]
) -> None:
    page = Page("Minimum energy paths", lead="Energies along the path; no zero-point energy, no entropy.")
    tabulate(page, rows)
    for row, result in zip(rows, results, strict=True):
        if result.profile is None or result.images is None:
            continue
        s, energy = result.profile.curve()
        series = {"path": (s.numpy(), energy.numpy())}
        data = {"coordinate (Å)": result.profile.coordinate.tolist(), "energy (eV)": result.profile.energy.tolist()}
        picture = curves(series, "length along the path (Å)", "energy from the start (eV)")
        picture.axes[0].plot(result.profile.coordinate.numpy(), result.profile.energy.numpy(), "o", color="#d1495b")
        page.figure(picture, f"{row['path']}: images and the cubic through their energies and slopes", data)
        shown = {"start": 0, "end": len(result.images) - 1}
        if result.saddle is not None:
            shown = {"start": 0, "saddle": result.saddle, "end": len(result.images) - 1}
        page.figure(structures({name: result.images[m] for name, m in shown.items()}), f"{row['path']}: structures")
    page.facts(provenance(potential, files=files, settings=dict(results[0].record["config"])))
    page.write(path)
