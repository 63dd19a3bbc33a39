"""Verbs about models that run in an environment of their own: models install, models remove."""

from pathlib import Path
from typing import Annotated

import typer

from groundstate import api
from groundstate.cli import options as opt
from groundstate.cli.app import errors, output, show
from groundstate.cli.models import models


@models.command("install")
def install_model(
    name: Annotated[str, typer.Argument(help="A public model, or a family for its environment alone.")],
    python: Annotated[
        str | None, typer.Option(help="An interpreter of yours that has the package; nothing is installed then.")
    ] = None,
    torch_index: Annotated[
        str | None, typer.Option("--torch-index", help="PyTorch's index for your build, e.g. the one for CPUs.")
    ] = None,
    offline_file: Annotated[
        Path | None, typer.Option("--offline-file", help="Weights that you brought; checked and kept.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights that are there.")] = False,
    reinstall: Annotated[bool, typer.Option("--reinstall", help="Make the environment anew.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Make the environment a public model runs in, and bring its weights.

    `groundstate models install 7net-0` · without a network: `groundstate models install mace-mpa-0 --offline-file FILE`
    """
    state = api.install(
        name,
        python=python,
        index=torch_index,
        offline_file=offline_file,
        overwrite=overwrite,
        reinstall=reinstall,
        say=lambda line: errors.print(line, markup=False, soft_wrap=True),
    )
    if as_json:
        show({"name": name, "state": state.word, "fix": state.fix})
    else:
        output.print(f"{name}: {state.word}" + (f". {state.fix}" if state.fix else ""), markup=False, soft_wrap=True)
    return 0 if state.ready else 5


@models.command("remove")
def remove_model(
    name: Annotated[str, typer.Argument(help="A public model, or a family for its environment.")],
    as_json: opt.Json = False,
) -> int:
    """Remove weights of a model, and the environment when no other model here needs it.

    `groundstate models remove 7net-0`
    """
    said: list[str] = []
    api.remove(name, say=said.append)
    if as_json:
        show({"name": name, "removed": said})
    else:
        output.print("\n".join(said) or "there was nothing to remove", markup=False, soft_wrap=True)
    return 0
