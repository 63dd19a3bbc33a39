"""Verbs about defects and surfaces: vacancy, surface, adsorb."""

from pathlib import Path
from typing import Annotated, Any

import typer

from groundstate import api
from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import app
from groundstate.cli.tables import show_rows, tabulate
from groundstate.report import Page, curves, provenance, structures
from groundstate.simulation import progress_bar
from groundstate.simulation.builders import Adsorption, Surface, Vacancy

File = Annotated[Path, typer.Argument(help="A structure file: extxyz, CIF, POSCAR, …")]


@app.command()
def vacancy(
    file: File,
    model: opt.Model = opt.DEFAULT_MODEL,
    element: Annotated[str, typer.Option(help="Elements to take away, comma separated; empty: all.")] = "",
    mu: Annotated[str, typer.Option(help="Chemical potentials, eV per atom by the same model: 'O=-4.9,Mg=-1.5'.")] = "",
    tolerance: Annotated[float, typer.Option(help="Change with the size of the cell that is converged, eV.")] = 0.02,
    first_width: Annotated[float, typer.Option(help="Width of the smallest cell, Å.")] = 7.0,
    max_atoms: Annotated[int, typer.Option(help="Atoms of the largest cell.")] = 300,
    force_tolerance: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.03,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Formation energies of the vacancies that symmetry tells apart, in growing cells.

    E(vacancy) − E(perfect) + μ of the atom taken away. Relax the crystal and its cell first.

    `groundstate vacancy Cu.cif --report vacancy.html`
    """
    loaded = api.load(model)
    with progress_bar("vacancy") as progress:
        results = api.vacancy(
            file,
            loaded,
            output=folder,
            progress=progress,
            elements=tuple(name.strip() for name in element.split(",") if name.strip()),
            chemical_potentials=_numbers_by_name(mu),
            tolerance_eV=tolerance,
            first_width=first_width,
            max_atoms=max_atoms,
            force_tolerance=force_tolerance,
        )
    rows = [_vacancy_row(result) for result in results]
    if report is not None:
        page = Page("Vacancies", lead="Formation energies at fixed cell, neutral, without entropy.")
        tabulate(page, rows)
        series = {}
        for row, result in zip(rows, results, strict=True):
            known = [(s.atoms, s.formation_energy) for s in result.sizes if s.formation_energy is not None]
            if known:
                series[row["vacancy"]] = ([atoms for atoms, _ in known], [energy for _, energy in known])
        if series:
            data = {name: {"atoms": x, "formation energy (eV)": y} for name, (x, y) in series.items()}
            page.figure(
                curves(series, "atoms", "formation energy (eV)", markers=True), "With the size of the cell", data
            )
        for result in results:
            page.text(result.subtracted)
        page.facts(
            provenance(loaded.potential, files=[file], packages=["spglib"], settings=dict(results[0].record["config"]))
        )
        page.write(report)
    show_rows(loaded.id, "vacancies", rows, [result.subtracted for result in results], as_json)
    return 0 if all(result.converged for result in results) else 1


@app.command()
def surface(
    file: File,
    miller: Annotated[str, typer.Option(help="Plane of the cell given: '1,1,1'.")],
    model: opt.Model = opt.DEFAULT_MODEL,
    thicknesses: Annotated[str, typer.Option(help="Repeats along the normal, at least three.")] = "2,3,4,5",
    vacuum: Annotated[float, typer.Option(help="Vacuum between slabs, Å.")] = 15.0,
    termination: Annotated[int | None, typer.Option(help="Number of the cut; default: all.")] = None,
    tolerance: Annotated[float, typer.Option(help="Change that counts as converged, J/m².")] = 0.02,
    force_tolerance: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.03,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Surface energies of a plane from a line through slabs of growing thickness.

    `groundstate surface Cu.cif --miller 1,1,1 --report surface.html`
    """
    loaded = api.load(model)
    with progress_bar("surface") as progress:
        results = api.surface(
            file,
            loaded,
            miller=_three(miller),
            output=folder,
            progress=progress,
            thicknesses=tuple(_whole_numbers(thicknesses)),
            vacuum=vacuum,
            termination=termination,
            tolerance_J_per_m2=tolerance,
            force_tolerance=force_tolerance,
        )
    rows = [_surface_row(result) for result in results]
    if report is not None:
        page = Page(f"Surface ({miller})", lead=results[0].subtracted)
        tabulate(page, rows)
        page.figure(
            structures({f"termination {r.termination}": r.relaxations[-1].system for r in results[:4]}),
            "The thickest slabs, relaxed",
        )
        page.facts(
            provenance(
                loaded.potential, files=[file], packages=["pymatgen"], settings=dict(results[0].record["config"])
            )
        )
        page.write(report)
    show_rows(loaded.id, "surfaces", rows, [results[0].subtracted], as_json)
    return 0 if all(result.converged for result in results) else 1


@app.command()
def adsorb(
    slab: Annotated[Path, typer.Argument(help="The slab, its normal along c.")],
    molecule: Annotated[Path, typer.Argument(help="The molecule, without periods.")],
    model: opt.Model = opt.DEFAULT_MODEL,
    anchor: Annotated[int, typer.Option(help="Atom of the molecule that meets the surface, from 0.")] = 0,
    orientation: Annotated[str, typer.Option(help="The rest of it points up, down, flat, or as_given.")] = "up",
    sites: Annotated[str, typer.Option(help="Kinds of sites.")] = "top,bridge,hollow",
    fixed_share: Annotated[float, typer.Option(help="Lower share of the slab that does not move.")] = 0.5,
    force_tolerance: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.03,
    max_steps: Annotated[int, typer.Option(help="Steps before a structure ends unconverged.")] = 500,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Adsorption energies on the distinct sites of a surface, with a scan of the height.

    E(slab + molecule) − E(slab) − E(molecule), all relaxed with the same settings; negative binds.

    `groundstate adsorb slab.cif CO.xyz --report adsorption.html`
    """
    loaded = api.load(model)
    with progress_bar("adsorb") as progress:
        result = api.adsorb(
            slab,
            molecule,
            loaded,
            output=folder,
            progress=progress,
            anchor=anchor,
            orientation=orientation,
            sites=tuple(name.strip() for name in sites.split(",")),
            fixed_share=fixed_share,
            force_tolerance=force_tolerance,
            max_steps=max_steps,
        )
    rows = adsorption_rows(result)
    if report is not None:
        page = Page("Adsorption", lead=result.subtracted)
        adsorption_sections(page, result)
        page.facts(
            provenance(
                loaded.potential, files=[slab, molecule], packages=["pymatgen"], settings=dict(result.record["config"])
            )
        )
        page.write(report)
    show_rows(loaded.id, "sites", rows, [result.subtracted, *result.warnings, *result.notes], as_json)
    return 0 if all(site.energy is not None for site in result.sites) else 1


def adsorption_rows(result: Adsorption) -> list[dict[str, Any]]:
    """A row per site."""
    return [
        {
            "site": one.site.name,
            "E_ads (eV)": one.energy,
            "ended at": one.ended_at,
            "height (Å)": one.height,
            "closest contact (Å)": one.contact,
            "status": one.relaxation.status,
            "steps": one.relaxation.steps,
            "notes": list(one.warnings),
        }
        for one in result.sites
    ]


def adsorption_sections(page: Page, result: Adsorption) -> None:
    """Table, height curves and structures of a study."""
    tabulate(page, adsorption_rows(result), f"coverage {result.coverage:.3f}")
    for warning in result.warnings:
        page.text(warning, note=True)
    series = {}
    for one in result.sites:
        known = [(h, e) for h, e in zip(one.heights, one.curve, strict=True) if e is not None and e < 1.0]
        if known:
            series[one.site.name] = ([h for h, _ in known], [e for _, e in known])
    if series:
        data = {name: {"height (Å)": x, "energy (eV)": y} for name, (x, y) in series.items()}
        picture = curves(series, "height of the anchor (Å)", "energy (eV)", markers=True)
        page.figure(picture, "Rigid molecule over the relaxed slab", data)
    pictured = {one.site.name: one.relaxation.system for one in result.sites[:4]}
    page.figure(structures(pictured), "Relaxed structures")


def _vacancy_row(result: Vacancy) -> dict[str, Any]:
    return {
        "vacancy": f"{result.element} at site {result.site}",
        "equivalent sites": result.equivalent,
        "formation energy (eV)": result.formation_energy,
        "unrelaxed (eV)": result.sizes[-1].unrelaxed,
        "atoms": result.sizes[-1].atoms,
        "converged": result.converged,
        "notes": [*result.warnings, *result.notes],
    }


def _surface_row(result: Surface) -> dict[str, Any]:
    return {
        "termination": result.termination,
        "energy (J/m²)": result.energy,
        "without the thinnest (J/m²)": result.energy_without_thinnest,
        "unrelaxed (J/m²)": result.unrelaxed,
        "vacuum (J/m²)": result.vacuum_change,
        "bulk of the fit (eV/atom)": result.bulk_of_fit,
        "bulk (eV/atom)": result.bulk,
        "atoms": "–".join(map(str, (result.atoms[0], result.atoms[-1]))),
        "converged": result.converged,
        "notes": [*result.warnings, *result.notes],
    }


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace(" ", ",").split(",") if part]
    except ValueError:
        raise OptionError("E-OPTION", f"'{text}' is not a list of whole numbers", fix="write it as 1,1,1") from None


def _three(text: str) -> tuple[int, int, int]:
    numbers = _whole_numbers(text)
    if len(numbers) != 3:
        raise OptionError("E-MILLER", f"'{text}' is no plane", fix="give three integers, e.g. 1,1,1")
    return numbers[0], numbers[1], numbers[2]


def _numbers_by_name(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if not part.strip():
            continue
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise OptionError("E-OPTION", f"'{part}' is no chemical potential", fix="write it as O=-4.9") from None
    return found
