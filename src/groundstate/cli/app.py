"""The binary: verbs in a row, refusals in one form, exit codes that mean something."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from groundstate.atoms import GroundstateError, OptionError, nearest

errors = Console(stderr=True, highlight=False)
"""Refusals, notes and progress go to standard error, so that standard output is results only."""
output = Console(highlight=False)


# Typer carries click inside or beside it, depending on its version; its public exceptions lead to the right classes.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class Verbs(TyperGroup):
    """A group that answers a mistyped verb with the nearest one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command called, or a refusal that names its neighbour."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise OptionError(
                "E-VERB-UNKNOWN",
                f"'{args[0]}' is not a verb of groundstate",
                fix=nearest(args[0], self.list_commands(ctx)),
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Foundation models for atomistic simulation.

Structures are read from any file ASE or pymatgen knows (extxyz, CIF, POSCAR, vasprun.xml, …). Units are eV, Å, K; an
option in another unit says so in its name. Every result records the model's immutable id.

First steps: `groundstate models`, then `groundstate relax MgO.cif --cell full`, then `groundstate doctor` if anything
is odd.

Exit codes: 0 done · 1 some structures have no result · 2 options · 3 structure · 4 data · 5 model · 6 undefined
property · 7 run.""",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        code = app(args=words, standalone_mode=False)
    except GroundstateError as error:
        _refuse(error, as_json)
        code = error.exit_code
    except _UsageError as error:
        refusal = OptionError("E-OPTION", _one_line(error), fix=f"see `{_command(error)} --help`")
        _refuse(refusal, as_json)
        code = refusal.exit_code
    except (KeyboardInterrupt, typer.Abort):
        errors.print("Interrupted. What was finished is on disk; the same command continues.")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def show(record: Any) -> None:
    """Print a result for programs: one JSON document on standard output."""
    sys.stdout.write(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _refuse(error: GroundstateError, as_json: bool) -> None:
    if as_json:
        show({"error": error.as_dict()})
    errors.print(str(error), style="bold red", markup=False, soft_wrap=True)


def _one_line(error: Any) -> str:
    return str(error.format_message()).replace("\n", " ").rstrip(".")


def _command(error: Any) -> str:
    return str(error.ctx.command_path) if error.ctx is not None else "groundstate"
