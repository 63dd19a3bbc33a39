"""The verb that puts a run into one file."""

from pathlib import Path
from typing import Annotated

import typer

from groundstate.api.export import export as export_run
from groundstate.cli import options as opt
from groundstate.cli.app import app, output, show


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The --output folder of `relax` or `md`.")],
    target: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    as_json: opt.Json = False,
) -> int:
    """A finished or stopped run as one HDF5 file.

    It holds every frame and sample with its unit, and the model, settings and version that made them. Needs h5py.

    `groundstate export relaxed --output relaxed.h5`
    """
    count = export_run(run, target, overwrite=overwrite)
    if as_json:
        show({"run": str(run), "output": str(target), "structures": count})
    else:
        output.print(f"{count} structures of {run} in {target}", markup=False)
    return 0
