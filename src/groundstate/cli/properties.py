"""Verbs for properties of crystals: eos, elastic, phonons, expansion, conductivity."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from groundstate import api
from groundstate.api.properties import double
from groundstate.atoms import OptionError, System
from groundstate.cli import options as opt
from groundstate.cli.app import app, show
from groundstate.cli.pages import properties as pages
from groundstate.cli.tables import formula, print_rows
from groundstate.report import Page, provenance
from groundstate.simulation import progress_bar
from groundstate.simulation.properties import EOSConfig, Outcome, PhononConfig, read_born
from groundstate.simulation.properties.lattice import Matrix

Tolerance = Annotated[
    float, typer.Option("--force-tolerance", help="Largest force at the minimum, eV/Å; raised to a model's noise.")
]
Supercell = Annotated[
    str, typer.Option("--supercell", help="Repeats of the cell, '3,3,3'; default: faces two cutoffs apart.")
]
Born = Annotated[
    Path | None, typer.Option("--born", help="BORN file (ε∞ and Born charges) of the one structure, for LO-TO.")
]
BatchAtoms = Annotated[int, typer.Option("--max-atoms-per-batch", help="Atoms computed together.")]


@app.command()
def eos(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    lowest: Annotated[float, typer.Option(help="Smallest volume, relative to the minimum.")] = 0.94,
    highest: Annotated[float, typer.Option(help="Largest volume.")] = 1.06,
    points: Annotated[int, typer.Option(help="Volumes.")] = 9,
    shape: Annotated[bool, typer.Option("--shape", help="Relax the shape of the cell at each volume.")] = False,
    force_tolerance: Tolerance = 1e-4,
    max_atoms_per_batch: BatchAtoms = 1000,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Equation of state of crystals: minimum volume, bulk modulus and its pressure derivative, with error bars.

    `groundstate eos MgO.cif Si.cif --report eos.html`
    """

    def work(batch: Sequence[System], loaded: Any, progress: Any) -> list[Outcome[Any]]:
        return api.eos(
            batch,
            loaded,
            output=folder,
            progress=progress,
            lowest=lowest,
            highest=highest,
            points=points,
            shape=shape,
            force_tolerance=force_tolerance,
            max_atoms_per_batch=max_atoms_per_batch,
        )

    return _run("Equation of state", files, model, work, pages.eos_row, pages.eos_page, folder, report, as_json)


@app.command()
def elastic(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    strain: Annotated[float, typer.Option(help="The larger of the two strains.")] = 0.01,
    clamped: Annotated[bool, typer.Option("--clamped", help="Ions follow the strain and do not relax.")] = False,
    pressure_GPa: Annotated[float, typer.Option("--pressure-GPa", help="External pressure, GPa.")] = 0.0,
    symmetrise: Annotated[bool, typer.Option(help="Average over the point group.")] = True,
    force_tolerance: Tolerance = 1e-4,
    max_atoms_per_batch: BatchAtoms = 1000,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Elastic constants of crystals, their averages and mechanical stability. Voigt order xx yy zz yz xz xy, GPa.

    `groundstate elastic *.cif --output elastic`
    """

    def work(batch: Sequence[System], loaded: Any, progress: Any) -> list[Outcome[Any]]:
        return api.elastic(
            batch,
            loaded,
            output=folder,
            progress=progress,
            strain=strain,
            relax_ions=not clamped,
            pressure_GPa=pressure_GPa,
            symmetrise=symmetrise,
            force_tolerance=force_tolerance,
            max_atoms_per_batch=max_atoms_per_batch,
        )

    return _run("Elastic constants", files, model, work, pages.elastic_row, pages.elastic_page, folder, report, as_json)


@app.command()
def phonons(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    supercell: Supercell = "",
    displacement: Annotated[float, typer.Option(help="Of one atom at a time, Å.")] = 0.01,
    born: Born = None,
    imaginary: Annotated[str, typer.Option(help="'report' imaginary modes or 'refuse' the structure.")] = "report",
    force_tolerance: Tolerance = 1e-4,
    max_atoms_per_batch: BatchAtoms = 1000,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Phonons of crystals: bands, density of states, heat capacity, and whether the structure is a minimum at all.

    The displaced supercells of all structures go through the model together. With `--output` every finished one is
    kept, and the same command continues.

    `groundstate phonons MgO.cif --supercell 3,3,3 --born BORN --output phonons`
    """

    def work(batch: Sequence[System], loaded: Any, progress: Any) -> list[Outcome[Any]]:
        return api.phonons(
            batch,
            loaded,
            dielectric=None if born is None else read_born(born, batch[0]),
            output=folder,
            progress=progress,
            supercell=repeats(supercell),
            displacement=displacement,
            imaginary=imaginary,
            force_tolerance=force_tolerance,
            max_atoms_per_batch=max_atoms_per_batch,
        )

    return _run("Phonons", files, model, work, pages.phonon_row, pages.phonon_page, folder, report, as_json)


@app.command()
def expansion(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    lowest: Annotated[float, typer.Option(help="Smallest volume, relative to the static minimum.")] = 0.97,
    highest: Annotated[float, typer.Option(help="Largest volume.")] = 1.06,
    points: Annotated[int, typer.Option(help="Volumes, at least 5.")] = 7,
    supercell: Supercell = "",
    highest_K: Annotated[float, typer.Option("--highest-K", help="Highest temperature, K.")] = 1000.0,
    force_tolerance: Tolerance = 1e-4,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Thermal expansion, bulk modulus and heat capacity against temperature (quasi-harmonic).

    `groundstate expansion MgO.cif --supercell 2,2,2 --highest-K 1000 --output expansion`
    """

    def work(batch: Sequence[System], loaded: Any, progress: Any) -> list[Outcome[Any]]:
        volumes = EOSConfig(lowest=lowest, highest=highest, points=points, force_tolerance=force_tolerance)
        harmonic = PhononConfig(supercell=repeats(supercell))
        return api.thermal_expansion(
            batch,
            loaded,
            output=folder,
            progress=progress,
            volumes=volumes,
            phonons=harmonic,
            highest_K=highest_K,
        )

    return _run(
        "Thermal expansion", files, model, work, pages.expansion_row, pages.expansion_page, folder, report, as_json
    )


@app.command()
def conductivity(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    supercell: Supercell = "2,2,2",
    mesh: Annotated[int, typer.Option(help="Wave vectors along each reciprocal vector.")] = 12,
    force_tolerance: Tolerance = 1e-4,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Thermal conductivity of the lattice from three-phonon scattering (phono3py, relaxation time approximation).

    `groundstate conductivity Si.cif --supercell 2,2,2 --mesh 15 --output kappa`
    """

    def work(batch: Sequence[System], loaded: Any, progress: Any) -> list[Outcome[Any]]:
        harmonic = PhononConfig(supercell=repeats(supercell), force_tolerance=force_tolerance)
        return api.thermal_conductivity(batch, loaded, output=folder, progress=progress, phonons=harmonic, mesh=mesh)

    return _run(
        "Thermal conductivity",
        files,
        model,
        work,
        pages.conductivity_row,
        pages.conductivity_page,
        folder,
        report,
        as_json,
    )


def repeats(text: str) -> Matrix | None:
    """`3,3,3` as a diagonal supercell matrix; empty is the rule of length."""
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise OptionError("E-SUPERCELL", f"'{text}' is no supercell", fix="write three whole numbers: 3,3,3")
    a, b, c = (int(part) for part in parts)
    return ((a, 0, 0), (0, b, 0), (0, 0, c))


def _run(
    title: str,
    files: list[Path],
    model: str,
    work: Callable[[Sequence[System], Any, Any], list[Outcome[Any]]],
    row: Callable[[Any], dict[str, Any]],
    picture: Callable[[Page, str, Any], None],
    folder: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Read, compute, print, report: what these verbs share."""
    records, names, notes = opt.read_files(files)
    loaded = double(model)
    with progress_bar(title.lower()) as progress:
        outcomes = work([record.system for record in records], loaded, progress)
    rows = [_row(name, outcome, row) for name, outcome in zip(names, outcomes, strict=True)]
    page = report or (None if folder is None else folder / "report.html")
    if page is not None:
        settings = {"configuration": str(outcomes[0].record["config"])}
        facts = provenance(loaded.potential, files=files, packages=("phonopy", "spglib"), settings=settings)
        _page(title, rows, names, outcomes, picture, facts).write(page)
    if as_json:
        show({"model": loaded.id, "notes": notes, "structures": rows})
    else:
        print_rows(f"{title} by {loaded.id}", rows, notes)
    return 0 if all(outcome.problem is None for outcome in outcomes) else 1


def _row(name: str, outcome: Outcome[Any], row: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    reason = "" if outcome.problem is None else str(outcome.problem)
    values = dict.fromkeys(row(None)) if outcome.value is None else row(outcome.value)
    start = {"structure": name, "formula": formula(outcome.system)}
    return start | values | {"reason": reason, "notes": list(outcome.notes)}


def _page(
    title: str,
    rows: list[dict[str, Any]],
    names: list[str],
    outcomes: list[Outcome[Any]],
    picture: Callable[[Page, str, Any], None],
    facts: dict[str, Any],
) -> Page:
    found = sum(outcome.problem is None for outcome in outcomes)
    page = Page(title, lead=f"{found} of {len(outcomes)} structures have a result")
    columns = [column for column in rows[0] if column != "notes"]
    page.table(columns, [[row[column] for column in columns] for row in rows])
    for name, outcome in zip(names, outcomes, strict=True):
        if outcome.value is not None:
            picture(page, name, outcome.value)
        for note in outcome.notes:
            page.text(f"{name}: {note}", note=True)
    page.facts(facts)
    return page
