"""Verbs on sets of labelled structures: `groundstate data import`, `check`, `split`, `stats`, `merge`."""

import typer

from groundstate.cli.app import Verbs, app

data = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    help="""Sets of labelled structures: kept as a store, examined, divided, joined.

    A store is a folder of memory-mapped shards; every verb that takes a file takes it too.

    `groundstate data import *.extxyz --output oxides`, then `groundstate train oxides --output run`
    """,
)
app.add_typer(data, name="data")
