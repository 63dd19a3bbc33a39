"""The verb that answers another program: drive."""

from pathlib import Path
from typing import Annotated

import typer

from groundstate import api
from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import app, errors, output, show


@app.command()
def drive(
    file: Annotated[Path, typer.Argument(help="The structure the server starts from.")],
    ipi: Annotated[bool, typer.Option("--ipi", help="Speak i-PI's protocol, the one there is.")] = False,
    address: Annotated[str, typer.Option(help="Host the server runs on.")] = "localhost",
    port: Annotated[int | None, typer.Option(help="Port it listens at.")] = None,
    unix: Annotated[str, typer.Option(help="Or its Unix socket: NAME for /tmp/ipi_NAME, or a path.")] = "",
    wait: Annotated[float, typer.Option("--wait-s", help="Seconds to wait for a server that is not there yet.")] = 30.0,
    model: opt.Model = opt.DEFAULT_MODEL,
    allow_close: opt.AllowClose = False,
    ignore_charge: opt.IgnoreCharge = False,
    ignore_multiplicity: opt.IgnoreMultiplicity = False,
    as_json: opt.Json = False,
) -> int:
    """Give forces to a program that moves the atoms itself: i-PI, ASE's SocketIOCalculator.

    Several drivers may answer one server, each a process of its own. Ends when the server says so.

    `groundstate drive start.xyz --ipi --address localhost --port 31415 --model chgnet`
    """
    if not ipi:
        raise OptionError("E-PROTOCOL-UNNAMED", "which protocol the server speaks was not said", fix="add --ipi")
    loaded = api.load(model)
    ended = api.drive(
        file,
        loaded,
        host=address,
        port=port,
        unix=unix,
        wait=wait,
        allow=opt.allowances(allow_close, ignore_charge, ignore_multiplicity),
        answered=_tell,
    )
    if as_json:
        show({"model": loaded.id, "evaluations": ended.evaluations, "ending": ended.ending})
    else:
        output.print(f"{ended.evaluations} configurations answered by {loaded.id}; {ended.ending}", markup=False)
    return 0


def _tell(count: int, energy: float) -> None:
    if count in (1, 10, 100) or count % 1000 == 0:
        errors.print(f"{count} configurations answered, the last at {energy:.6f} eV", markup=False)
