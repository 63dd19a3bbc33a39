"""The verb about pores: widom."""

from pathlib import Path
from typing import Annotated, Any

import typer

from groundstate import api
from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import app
from groundstate.cli.tables import show_rows, tabulate
from groundstate.report import Page, provenance, structures
from groundstate.simulation import progress_bar
from groundstate.simulation.free_energy.widom import WidomResult


@app.command()
def widom(
    framework: Annotated[Path, typer.Argument(help="The framework, a crystal.")],
    guest: Annotated[Path, typer.Argument(help="The molecule, without periods.")],
    temperatures_K: Annotated[str, typer.Option("--temperatures-K", help="One or several, K.")] = "298.15",
    model: opt.Model = opt.DEFAULT_MODEL,
    insertions: Annotated[int, typer.Option(help="Insertions in all.")] = 2000,
    blocks: Annotated[int, typer.Option(help="Independent parts, for error bars.")] = 10,
    overlap: Annotated[
        float, typer.Option(help="Contacts closer than this times the covalent radii weigh zero.")
    ] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed of positions and orientations.")] = 0,
    folder: opt.Output = None,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Henry coefficient and heat of adsorption at zero loading, by random insertion of a rigid molecule.

    `groundstate widom CHA.cif CO2.xyz --temperatures-K 273,298,323 --report widom.html`
    """
    loaded = api.load(model)
    with progress_bar("widom") as progress:
        result = api.widom(
            framework,
            guest,
            loaded,
            output=folder,
            progress=progress,
            temperatures_K=_temperatures(temperatures_K),
            insertions=insertions,
            blocks=blocks,
            overlap=overlap,
            seed=seed,
        )
    rows = widom_rows(result)
    if report is not None:
        page = Page("Zero-loading adsorption", lead=f"{insertions} insertions of a rigid molecule")
        widom_sections(page, result)
        page.facts(provenance(loaded.potential, files=[framework, guest], settings=dict(result.record["config"])))
        page.write(report)
    show_rows(loaded.id, "points", rows, [*result.warnings, *result.notes], as_json)
    return 0


def widom_rows(result: WidomResult) -> list[dict[str, Any]]:
    """A row per temperature."""
    return [
        {
            "T (K)": point.temperature_K,
            "K_H (mol/kg/Pa)": point.henry_mol_per_kg_Pa,
            "± K_H": point.henry_error,
            "q_st (kJ/mol)": point.heat_kJ_per_mol,
            "± q_st": point.heat_error,
            "excess μ (eV)": point.excess_eV,
            "effective insertions": point.effective,
        }
        for point in result.points
    ]


def widom_sections(page: Page, result: WidomResult) -> None:
    """Table, doubts, the strongest binding and what was subtracted."""
    tabulate(page, widom_rows(result), "± one standard error, from the scatter of blocks")
    for text in (*result.warnings, *result.notes):
        page.text(text, note=text in result.warnings)
    page.text(
        f"E = E(framework + guest) − {result.framework_energy:.6g} eV (framework) − {result.guest_energy:.6g} eV"
        f" (guest); the lowest is {result.best_energy:.3f} eV at a contact of {result.best_contact:.2f} Å."
    )
    if result.best is not None:
        page.figure(structures({"strongest binding": result.best}), "The insertion of lowest energy")


def _temperatures(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise OptionError(
            "E-TEMPERATURE", f"'{text}' is not a list of temperatures", fix="write it as 273,298"
        ) from None
