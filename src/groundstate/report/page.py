"""A page of text, tables and pictures in one file that needs nothing else, with the same content as JSON beside it."""

import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from groundstate.data.files import write_whole
from groundstate.report.crystals import Picture
from groundstate.report.style import STYLE, recoloured
from groundstate.report.viewer import SCRIPT


class Page:
    """Collects sections in order; `write` leaves `path` and its JSON twin, each complete or not at all."""

    def __init__(self, title: str, lead: str = "") -> None:
        self._title, self._lead = title, lead
        self._parts: list[str] = []
        self._record: list[dict[str, Any]] = []
        self._turns = False

    def heading(self, text: str) -> None:
        """A section begins."""
        self._add("heading", {"text": text}, f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, *, note: bool = False) -> None:
        """A paragraph; a note stands out."""
        css = ' class="note"' if note else ""
        self._add("note" if note else "text", {"text": text}, f"<p{css}>{html.escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """Columns carry their units in their names; floats are shown with four significant digits, stored in full."""
        sentences = [any(_is_sentence(row[i]) for row in rows) for i in range(len(columns))]
        head = "".join(
            f"<th{' class=words' if long else ''}>{html.escape(column)}</th>"
            for column, long in zip(columns, sentences, strict=True)
        )
        body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
        label = f"<caption>{html.escape(caption)}</caption>" if caption else ""
        self._add(
            "table",
            {"caption": caption, "columns": list(columns), "rows": [list(row) for row in rows]},
            f'<div class="wide"><table>{label}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>',
        )

    def figure(self, figure: Figure | Picture, caption: str, data: Mapping[str, Any] | None = None) -> None:
        """A picture with what it shows in words; `data` are its numbers for the JSON twin."""
        if isinstance(figure, Picture):
            self._turns, role, picture, numbers = True, "", figure.markup, figure.data
        else:
            role, picture, numbers = f' role="img" aria-label="{html.escape(caption)}"', _drawing(figure), {}
        self._add(
            "figure",
            {"caption": caption, "data": dict(data or numbers)},
            f"<figure{role}>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>",
        )

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Provenance: what made these numbers."""
        rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(_shown(v))}</dd>" for k, v in facts.items())
        self._add("facts", {"facts": dict(facts)}, f"<dl>{rows}</dl>")

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the HTML page and `<stem>.json`."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        lead = f'<p class="lead">{html.escape(self._lead)}</p>' if self._lead else ""
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{html.escape(self._title)}</title>"
            f"<style>{STYLE}</style></head><body><main><h1>{html.escape(self._title)}</h1>{lead}"
            + "\n".join(self._parts)
            + (f"<script>{SCRIPT}</script>" if self._turns else "")
            + "</main></body></html>\n"
        )
        record = {"title": self._title, "lead": self._lead, "sections": self._record}
        twin = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(target.with_suffix(".json"), twin.encode())
        write_whole(target, page.encode())
        return target

    def _add(self, kind: str, record: dict[str, Any], markup: str) -> None:
        self._record.append({"kind": kind, **record})
        self._parts.append(markup)


def _drawing(figure: Figure) -> str:
    """A figure as SVG, in the colours of the page it stands on."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    picture = buffer.getvalue()
    return recoloured(picture[picture.index("<svg") :])


_MOOD = {"pass": "good", "converged": "good", "completed": "good", "yes": "good"} | dict.fromkeys(
    ("FAIL", "diverged", "invalid", "stopped", "max_steps"), "bad"
)


def _is_sentence(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 40


def _cell(value: Any) -> str:
    """A number stands right, a sentence may break, a verdict has its colour."""
    text = _shown(value)
    css = _MOOD.get(text) or ("words" if _is_sentence(value) else "")
    return f'<td class="{css}">{html.escape(text)}</td>' if css else f"<td>{html.escape(text)}</td>"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
