"""The verb that asks several models: models compare."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from groundstate import api
from groundstate.cli import options as opt
from groundstate.cli.app import errors, output, show
from groundstate.cli.models import models
from groundstate.cli.pages import compare as pages
from groundstate.report import provenance
from groundstate.simulation import progress_bar


@models.command("compare")
def compare(
    files: opt.Files,
    named: Annotated[str, typer.Option("--models", help="Names or files of models, comma separated.")],
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="Let labels of the files take part like a further model.")
    ] = True,
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for report.html and report.json.")
    ] = None,
    report: opt.Report = None,
    salvage: opt.Salvage = False,
    allow_close: opt.AllowClose = False,
    ignore_charge: opt.IgnoreCharge = False,
    ignore_multiplicity: opt.IgnoreMultiplicity = False,
    as_json: opt.Json = False,
) -> int:
    """Your structures through several models: where they agree, where not, where one of them knows nothing.

    Forces and pressures are compared as they are, energies within a composition only: the zeros of energy of two models
    mean nothing. A model that does not know an element says so for that structure and takes part with the others.

    `groundstate models compare mine.extxyz --models chgnet,tuned/model.safetensors --report compare.html`
    """
    opt.refuse_report(report)
    opt.refuse_report(None if folder is None else folder / "report.html")
    records, names, notes = opt.read_files(files, salvage=salvage)
    with progress_bar("compare") as progress:
        found = api.compare(
            records,
            [name.strip() for name in named.split(",") if name.strip()],
            labels=labels,
            allow=opt.allowances(allow_close, ignore_charge, ignore_multiplicity),
            progress=progress,
        )
    opt.leave(pages.page(found, names, provenance(files=files)), report, folder)
    if as_json:
        show({"notes": notes, "names": names, **found.as_dict()})
        return 1 if pages.refusals(found, names) else 0
    tables = (
        (pages.sentence(found, names), pages.PAIR_COLUMNS, pages.pair_rows(found, names)),
        ("Every structure", pages.structure_columns(found), pages.structure_rows(found, names)),
    )
    for title, columns, rows in tables:
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(opt.cell(value) for value in row))
        output.print(table)
    for note in [*notes, *(f"{model} on {name}: {why}" for model, name, why in pages.refusals(found, names))]:
        errors.print(f"note: {note}", markup=False)
    return 1 if pages.refusals(found, names) else 0
