"""Rows of results as people read them, on the terminal and on a page. A row is a dict from column, with unit, to value.

`notes` of a row are sentences and `reason` says why it has no numbers; neither is a column on the terminal.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from groundstate.atoms import System
from groundstate.atoms.elements import symbols
from groundstate.cli.app import errors, output, show
from groundstate.report import Page

Row = Mapping[str, Any]
_MANY, _FEW = 6, 4
"""From so many columns on, so few rows are read downwards."""


def formula(system: System) -> str:
    """Elements in order of appearance with their counts."""
    counts = Counter(symbols(system.numbers.tolist()))
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in counts.items())


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def show_rows(model: str, kind: str, rows: Sequence[Row], notes: Sequence[str], as_json: bool) -> None:
    """The results of a verb, for people or for programs."""
    if as_json:
        show({"model": model, "notes": list(notes), kind: list(rows)})
    else:
        print_rows(f"Computed with {model}", rows, notes)


def print_rows(title: str, rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Rows as a table on standard output; reasons and notes on standard error."""
    columns = [name for name in rows[0] if name not in ("notes", "reason")]
    lines = [columns, *([cell(row[name]) for name in columns] for row in rows)]
    downwards = len(columns) >= _MANY and len(rows) <= _FEW
    if downwards:
        lines = [list(line) for line in zip(*lines, strict=True)]
    table = Table(title=title, title_justify="left")
    for k, name in enumerate(lines[0]):
        number = not downwards and all(row[name] is None or isinstance(row[name], float) for row in rows)
        table.add_column(name, no_wrap=k == 0, overflow="fold", justify="right" if number else "left")
    for line in lines[1:]:
        table.add_row(*line)
    output.print(table)
    for note in [*notes, *_said(rows, ("reason", "notes"))]:
        errors.print(f"note: {note}", markup=False, soft_wrap=True)


def tabulate(page: Page, rows: Sequence[Row], caption: str = "") -> None:
    """Rows as a table of a page, without columns nobody filled, and their notes as paragraphs."""
    columns = [name for name in rows[0] if name != "notes" and any(row[name] not in ("", None) for row in rows)]
    page.table(columns, [[row[name] for name in columns] for row in rows], caption)
    for note in _said(rows, ("notes",))[:20]:
        page.text(note, note=True)


def conclude(page: Page, facts: Row) -> Page:
    """The page with what made its numbers at the end."""
    page.heading("Provenance")
    page.facts(facts)
    return page


def _said(rows: Sequence[Row], where: Sequence[str]) -> list[str]:
    first = next(iter(rows[0]))
    found = []
    for row in rows:
        for name in where:
            text = row.get(name) or ()
            found += [f"{row[first]}: {one}" for one in ([text] if isinstance(text, str) else text)]
    return found
