"""Verbs that take structures: predict, relax, md."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from groundstate import api
from groundstate.atoms import System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.cli import options as opt
from groundstate.cli.app import app, show
from groundstate.cli.pages import structures as pages
from groundstate.cli.tables import formula, print_rows
from groundstate.data import write
from groundstate.data.writers import refuse_existing
from groundstate.report import provenance
from groundstate.simulation import MDResult, RelaxResult, progress_bar


@app.command()
def predict(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    want: Annotated[
        str, typer.Option(help="Quantities, comma separated: energy, forces, stress, energies, magnetic_moments, …")
    ] = "energy,forces",
    save: Annotated[
        Path | None, typer.Option("--output", "-o", help="extxyz file to write the predictions to.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")] = False,
    report: opt.Report = None,
    salvage: opt.Salvage = False,
    allow_close: opt.AllowClose = False,
    ignore_charge: opt.IgnoreCharge = False,
    ignore_multiplicity: opt.IgnoreMultiplicity = False,
    as_json: opt.Json = False,
) -> int:
    """Energy, forces and more of structures as they are.

    `groundstate predict POSCAR --want energy,forces,stress`
    """
    for path in (save, report):
        if path is not None:
            refuse_existing(path, overwrite=overwrite)
    records, names, notes = opt.read_files(files, salvage=salvage)
    loaded = api.load(model)
    with progress_bar("predict") as progress:
        results = api.predict(
            [record.system for record in records],
            loaded,
            [name.strip() for name in want.split(",")],
            allow=opt.allowances(allow_close, ignore_charge, ignore_multiplicity),
            progress=progress,
        )
    if save is not None:
        write(save, [result.to_record() for result in results if result.problem is None], overwrite=overwrite)
    rows = [
        {
            "structure": name,
            "formula": formula(result.system),
            "problem": None if result.problem is None else result.problem.as_dict(),
            "notes": list(result.notes),
            **{key: value.tolist() for key, value in result.values.items()},
        }
        for name, result in zip(names, results, strict=True)
    ]
    table = _predicted_rows(names, rows, results)
    if report is not None:
        opt.leave(pages.predicted(table, results, names, provenance(loaded.potential, files=files)), report)
    if as_json:
        show({"model": loaded.id, "notes": notes, "structures": rows})
    else:
        print_rows(f"Predicted by {loaded.id}", table, notes)
    return 0 if all(result.problem is None for result in results) else 1


@app.command()
def relax(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    cell: Annotated[str, typer.Option(help="fixed, full, shape (constant volume) or isotropic.")] = "fixed",
    pressure_GPa: Annotated[float, typer.Option("--pressure-GPa", help="External pressure, GPa.")] = 0.0,
    force_tolerance: Annotated[float, typer.Option(help="Largest force (and cell force) at the end, eV/Å.")] = 0.01,
    max_steps: Annotated[int, typer.Option(help="Steps before a structure ends unconverged.")] = 500,
    minimiser: Annotated[str, typer.Option(help="lbfgs, or fire: slower and sturdier on rough surfaces.")] = "lbfgs",
    keep_symmetry: Annotated[
        float | None, typer.Option(help="Keep the symmetry found within this distance, Å (spglib); 0.01 is usual.")
    ] = None,
    max_atoms_per_batch: Annotated[
        int | None, typer.Option(help="Atoms computed together; as many as memory allows by default.")
    ] = None,
    fixed_atoms: opt.FixedAtoms = "",
    folder: opt.Output = None,
    report: opt.Report = None,
    salvage: opt.Salvage = False,
    allow_close: opt.AllowClose = False,
    ignore_charge: opt.IgnoreCharge = False,
    ignore_multiplicity: opt.IgnoreMultiplicity = False,
    as_json: opt.Json = False,
) -> int:
    """Relax structures to their energy (or enthalpy) minimum, all in one batch.

    Each ends as converged, max_steps, diverged or invalid, with numbers; one bad structure never harms the others. With
    `--output` every finished structure is on disk at once, the same command continues after an interruption, and a
    `report.html` is left.

    `groundstate relax *.cif --cell full --force-tolerance 0.01 --output relaxed`
    """
    opt.refuse_report(report)
    records, names, notes = opt.read_files(files, salvage=salvage)
    loaded, batch = api.load(model), System.batch([record.system for record in records])
    with progress_bar("relax") as progress:
        results = api.relax(
            batch,
            loaded,
            fixed_atoms=opt.atom_mask(fixed_atoms, batch),
            allow=opt.allowances(allow_close, ignore_charge, ignore_multiplicity),
            output=folder,
            progress=progress,
            cell=cell,
            pressure_GPa=pressure_GPa,
            force_tolerance=force_tolerance,
            max_steps=max_steps,
            minimiser=minimiser,
            keep_symmetry=keep_symmetry,
            max_atoms_per_batch=max_atoms_per_batch,
        )
    rows = [_relaxed_row(name, result) for name, result in zip(names, results, strict=True)]
    if folder is not None or report is not None:
        facts = provenance(loaded.potential, files=files)
        opt.leave(pages.relaxed(rows, list(batch), results, names, facts), report, folder)
    if as_json:
        show({"model": loaded.id, "notes": notes, "structures": rows})
    else:
        print_rows(f"Relaxed with {loaded.id}", rows, notes)
    return 0 if all(result.converged for result in results) else 1


@app.command()
def md(
    files: opt.Files,
    steps: Annotated[int, typer.Option(help="Number of time steps.")],
    temperature_K: Annotated[float, typer.Option("--temperature-K", help="Initial and thermostat temperature, K.")],
    timestep_fs: Annotated[
        float, typer.Option("--timestep-fs", help="Time step, fs: 1 usual, 0.5 with hydrogen.")
    ] = 1.0,
    ensemble: Annotated[
        str, typer.Option(help="nve; langevin, csvr, nose-hoover (temperature); npt, npt-mtk (and pressure).")
    ] = "langevin",
    friction_per_ps: Annotated[float, typer.Option(help="Langevin coupling, 1/ps.")] = 1.0,
    final_temperature_K: Annotated[
        float | None, typer.Option("--final-temperature-K", help="The thermostat goes there linearly, K.")
    ] = None,
    thermostat_fs: Annotated[float, typer.Option(help="Relaxation time of csvr and of chains, fs.")] = 100.0,
    pressure_GPa: Annotated[float, typer.Option("--pressure-GPa", help="External pressure, GPa.")] = 0.0,
    cell: Annotated[
        str, typer.Option(help="Under pressure: isotropic keeps the shape, full lets all go.")
    ] = "isotropic",
    barostat_fs: Annotated[float, typer.Option(help="Relaxation time of the volume, fs.")] = 1000.0,
    compressibility_per_GPa: Annotated[
        float, typer.Option("--compressibility-per-GPa", help="A guess; sets the pace of npt only, 1/GPa.")
    ] = 0.01,
    trajectory_every: Annotated[int, typer.Option(help="Steps between frames on disk; ≤ 4 fs for spectra.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of velocities and noise.")] = 0,
    model: opt.Model = opt.DEFAULT_MODEL,
    fixed_atoms: opt.FixedAtoms = "",
    folder: opt.Output = None,
    report: opt.Report = None,
    allow_close: opt.AllowClose = False,
    ignore_charge: opt.IgnoreCharge = False,
    ignore_multiplicity: opt.IgnoreMultiplicity = False,
    allow_direct_forces: opt.AllowDirectForces = False,
    as_json: opt.Json = False,
) -> int:
    """Molecular dynamics at constant energy, temperature or pressure, with a watchdog.

    The run stops where temperature, forces, distances, volume or energy drift leave sense, keeps the last good frame
    and says why. With `--output` trajectory and checkpoints are on disk and the same command continues.

    `groundstate md SrTiO3.cif --steps 1000 --temperature-K 300 --output run`
    """
    opt.refuse_report(report)
    records, names, notes = opt.read_files(files)
    loaded, batch = api.load(model), System.batch([record.system for record in records])
    with progress_bar("md") as progress:
        results = api.md(
            batch,
            loaded,
            fixed_atoms=opt.atom_mask(fixed_atoms, batch),
            allow=opt.allowances(allow_close, ignore_charge, ignore_multiplicity, allow_direct_forces),
            output=folder,
            progress=progress,
            steps=steps,
            temperature_K=temperature_K,
            timestep_fs=timestep_fs,
            ensemble=ensemble,
            friction_per_ps=friction_per_ps,
            final_temperature_K=final_temperature_K,
            thermostat_fs=thermostat_fs,
            pressure_GPa=pressure_GPa,
            cell=cell,
            barostat_fs=barostat_fs,
            compressibility_per_GPa=compressibility_per_GPa,
            trajectory_every=trajectory_every,
            seed=seed,
        )
    rows = [_md_row(name, result) for name, result in zip(names, results, strict=True)]
    if folder is not None or report is not None:
        facts = provenance(loaded.potential, files=files)
        opt.leave(pages.moved(rows, results, names, facts), report, folder)
    if as_json:
        show({"model": loaded.id, "notes": notes, "structures": rows})
    else:
        print_rows(f"Molecular dynamics with {loaded.id}", rows, notes)
    return 0 if all(result.status == "completed" for result in results) else 1


def _relaxed_row(name: str, result: RelaxResult) -> dict[str, Any]:
    return {
        "structure": name,
        "formula": formula(result.system),
        "status": result.status,
        "energy (eV)": result.energy,
        "largest force (eV/Å)": result.max_force,
        "volume ratio": result.volume_ratio,
        "steps": result.steps,
        "reason": f"{result.code}: {result.reason}" if result.code else "",
        "notes": list(result.notes),
    }


def _md_row(name: str, result: MDResult) -> dict[str, Any]:
    return {
        "structure": name,
        "formula": formula(result.system),
        "status": result.status,
        "time (ps)": result.time_fs / 1000,
        "mean T (K)": result.mean_temperature_K,
        "std T (K)": result.temperature_std_K,
        **{
            label: float(result.samples[column].mean())
            for column, label in _PRESSED.items()
            if column in result.samples
        },
        **({"strains accepted": result.strains_accepted} if result.strains_accepted is not None else {}),
        "drift (meV/atom/ps)": result.drift_meV_per_atom_ps,
        "reason": f"{result.code}: {result.reason}" if result.code else "",
        "notes": list(result.notes),
    }


_PRESSED = {"pressure_GPa": "mean p (GPa)", "volume": "mean V (Å³)"}


def _predicted_rows(names: list[str], rows: list[dict[str, Any]], results: Any) -> list[dict[str, Any]]:
    """What a table shows of predictions: one number for each quantity, and the reason where there is none."""
    shown = []
    for name, row, result in zip(names, rows, results, strict=True):
        values = result.values
        line: dict[str, Any] = {"structure": name, "formula": row["formula"]}
        if "energy" in values:
            line["energy (eV)"] = float(values["energy"])
            line["per atom (eV)"] = float(values["energy"]) / result.system.n_atoms
        if "forces" in values:
            line["largest force (eV/Å)"] = float(torch.linalg.vector_norm(values["forces"], dim=1).max())
        if "stress" in values:
            line["pressure (GPa)"] = -float(torch.trace(values["stress"])) / 3 / GIGAPASCAL
        if result.problem is not None:
            line["problem"] = str(result.problem)
        shown.append({**line, "notes": row["notes"]})
    columns = {name: None for line in shown for name in line}
    return [{name: line.get(name) for name in columns} for line in shown]
