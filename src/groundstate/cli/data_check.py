"""The verb that examines labelled data: data check."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from groundstate import api
from groundstate.cli import options as opt
from groundstate.cli.app import errors, output, show
from groundstate.cli.data import data, keys_of
from groundstate.cli.pages import data_check as pages
from groundstate.data import refuse_existing, write_exclusions
from groundstate.data.lint import Examination
from groundstate.data.lint.finding import listed
from groundstate.report import provenance
from groundstate.simulation import progress_bar

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "", "pass": "green", "not checked": "cyan"}
FOUND = 4
"""Exit code where there are errors among the findings: that of bad data."""


@data.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(help="Labelled structures, looked at as one set.")],
    against: Annotated[
        list[Path] | None, typer.Option(help="A file of the other set: leaks between the two. May be repeated.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--with", help="A model to compare forces and stresses with: a name or a path.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="quantity=key, where the usual names do not serve: energy=DFT_total.")
    ] = None,
    stress_convention: Annotated[
        str | None, typer.Option(help="ase, kbar-vasp, GPa or virial; needed where the file is not in ASE's.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for the page, its JSON twin and the list of frames to leave out.")
    ] = None,
    as_json: opt.Json = False,
) -> int:
    """Say what is wrong with labelled data before a model learns it.

    Copies and leaks, forces that are not −dE/dx, stress of another sign or unit, mixed levels of theory, other kinds of
    energy, outliers, impossible distances, wrong units. A check that cannot look says so. Exit code 4 with errors.

    `groundstate data check train.extxyz --against test.extxyz --report checked`
    """
    page, exclusions = _places(report)
    loaded = None if model is None else api.load(model)
    with progress_bar("check") as progress:
        result = api.check_data(
            files,
            against or (),
            model=loaded,
            keys=keys_of(key or []),
            stress_convention=stress_convention,
            progress=progress,
        )
    examination = result.examination
    if page is not None:
        page.parent.mkdir(exist_ok=True)
        pages.examined(
            result, provenance(None if loaded is None else loaded.potential, files=[*files, *(against or [])])
        ).write(page)
        write_exclusions(examination.records, examination.excluded, exclusions)
    if as_json:
        show(result.as_dict())
    else:
        _print(examination)
        if page is not None:
            output.print(f"Report: {page}", markup=False)
    return FOUND if any(finding.severity == "error" for finding in examination.findings) else 0


def _places(report: Path | None) -> tuple[Path | None, Path]:
    """Where the page and the list of exclusions go; refused where something is."""
    if report is None:
        return None, Path()
    places = report / "data_check.html", report / "exclude.txt"
    for place in places if report.is_dir() else (report,):
        refuse_existing(place, overwrite=False)
    return places


def _print(examination: Examination) -> None:
    table = Table(title=f"{len(examination.records)} frames: {pages.counted(examination)}", title_justify="left")
    for column in pages.CHECK_COLUMNS:
        table.add_column(column, overflow="fold")
    for name, verdict, said in pages.check_rows(examination):
        table.add_row(name, f"[{_COLOURS[verdict]}]{verdict}[/]" if _COLOURS[verdict] else verdict, said)
    output.print(table)
    for finding in examination.findings:
        frames = f" Frames {listed(finding.frames)}." if finding.frames else ""
        sentence = f"{finding.severity}: {finding.code}: {finding.what}.{frames} {finding.fix}".strip()
        errors.print(sentence, style=_COLOURS[finding.severity], markup=False, soft_wrap=True)
