"""The verb that asks one model in every way: parity."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from groundstate import api
from groundstate.api.ways import original
from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import app, errors, output, show
from groundstate.cli.pages import parity as pages
from groundstate.report import provenance
from groundstate.simulation import progress_bar


@app.command()
def parity(
    files: opt.Files,
    model: opt.Model = opt.DEFAULT_MODEL,
    tolerance_energy: Annotated[
        float | None, typer.Option("--tolerance-energy", help="eV/atom; by default what rounding explains.")
    ] = None,
    tolerance_forces: Annotated[float | None, typer.Option("--tolerance-forces", help="eV/Å; likewise.")] = None,
    tolerance_stress: Annotated[float | None, typer.Option("--tolerance-stress", help="eV/Å³; likewise.")] = None,
    reference_checkpoint: Annotated[
        Path | None, typer.Option(help="The mace-torch file this model was converted from, asked as one more path.")
    ] = None,
    reference_python: Annotated[str | None, typer.Option(help="Interpreter that has mace-torch.")] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="The checkpoint may run code of its own while it is read.")
    ] = False,
    report: opt.Report = None,
    salvage: opt.Salvage = False,
    allow_close: opt.AllowClose = False,
    ignore_charge: opt.IgnoreCharge = False,
    ignore_multiplicity: opt.IgnoreMultiplicity = False,
    as_json: opt.Json = False,
) -> int:
    """The same number on every path: batched, through ASE, with a Verlet skin, without kernels, in float64, TorchSim.

    Prints the largest differences of energy, forces and stress to plain evaluation beside what is allowed; exit code 1
    when a path exceeds it.

    `groundstate parity mine.extxyz --model medium.safetensors --report parity.html`
    """
    if (reference_checkpoint is None) != (reference_python is None):
        raise OptionError(
            "E-OPTION-CONFLICT",
            "a checkpoint is computed under the interpreter that has its package",
            fix="give --reference-checkpoint and --reference-python together",
        )
    opt.refuse_report(report)
    records, names, notes = opt.read_files(files, salvage=salvage)
    loaded = api.load(model)
    further = {}
    if reference_checkpoint is not None and reference_python is not None:
        further["mace-torch itself"] = original(reference_checkpoint, reference_python, trust_pickle=trust_pickle)
    with progress_bar("parity") as progress:
        found = api.parity(
            [record.system for record in records],
            loaded,
            tolerances=api.Tolerances(tolerance_energy, tolerance_forces, tolerance_stress),
            paths=further,
            allow=opt.allowances(allow_close, ignore_charge, ignore_multiplicity),
            progress=progress,
        )
    opt.leave(pages.page(found, names, provenance(loaded.potential, files=files)), report)
    if as_json:
        show({"notes": notes, "names": names, **found.as_dict()})
    else:
        table = Table(title=f"{loaded.id} ({found.precision})", title_justify="left", caption=pages.sentence(found))
        for column in pages.COLUMNS:
            table.add_column(column, overflow="fold")
        for row in pages.rows(found, names):
            table.add_row(*(opt.cell(value) for value in row))
        output.print(table)
        for note in [*notes, *(f"{names[i]} was not asked about: {why}" for i, why in found.refused.items())]:
            errors.print(f"note: {note}", markup=False)
    return 0 if found.passed else 1
