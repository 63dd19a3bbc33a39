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

_STYLE = """
:root{--ink:#1b2430;--soft:#5b6675;--line:#dfe4ea;--paper:#fff;--wash:#f6f8fa;--accent:#0b6e6e}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#9aa7b5;--line:#2c3640;--paper:#141a20;--wash:#1b232b;
--accent:#4fc3c3}figure svg{background:#fff;border-radius:6px}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem}h2{font-size:1.25rem;margin:2.6rem 0 .6rem}
.lead{font-size:1.1rem;color:var(--soft);margin:0 0 1.5rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.93rem}
.wide{overflow-x:auto}caption{text-align:left;color:var(--soft);padding:.2rem 0 .5rem}
th,td{padding:.38rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid var(--ink);font-weight:600}
figure{margin:1.2rem 0}figure svg{max-width:100%;height:auto}figcaption{color:var(--soft);font-size:.93rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;font-size:.9rem;background:var(--wash);
padding:1rem;border-radius:8px;overflow-wrap:anywhere}dt{color:var(--soft)}dd{margin:0;font-family:ui-monospace,monospace}
.note{border-left:4px solid var(--accent);padding:.4rem 1rem;background:var(--wash)}
"""


class Page:
    """Collects sections in order; `write` leaves `path` and its JSON twin, each complete or not at all."""

    def __init__(self, title: str, lead: str = "") -> None:
        self._title, self._lead = title, lead
        self._parts: list[str] = []
        self._record: list[dict[str, Any]] = []

    def heading(self, text: str) -> None:
        """A section begins."""
        self._add("heading", {"text": text}, f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, *, note: bool = False) -> None:
        """A paragraph; a note stands out."""
        css = ' class="note"' if note else ""
        self._add("note" if note else "text", {"text": text}, f"<p{css}>{html.escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """Columns carry their units in their names; floats are shown with four significant digits, stored in full."""
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(cell))}</td>" for cell in row) + "</tr>" for row in rows
        )
        label = f"<caption>{html.escape(caption)}</caption>" if caption else ""
        self._add(
            "table",
            {"caption": caption, "columns": list(columns), "rows": [list(row) for row in rows]},
            f'<div class="wide"><table>{label}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>',
        )

    def figure(self, figure: Figure, caption: str, data: Mapping[str, Any] | None = None) -> None:
        """A picture with what it shows in words; `data` are its numbers for the JSON twin."""
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        picture = buffer.getvalue()
        picture = picture[picture.index("<svg") :]
        self._add(
            "figure",
            {"caption": caption, "data": dict(data or {})},
            f'<figure role="img" aria-label="{html.escape(caption)}">{picture}'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>",
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
            f"<style>{_STYLE}</style></head><body><main><h1>{html.escape(self._title)}</h1>{lead}"
            + "\n".join(self._parts)
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


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
