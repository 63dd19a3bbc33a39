"""The page of parity."""

from collections.abc import Sequence
from typing import Any

from groundstate.api.parity import QUANTITIES, Parity
from groundstate.report import Page

_SIGNS = {"energy": "ΔE", "forces": "ΔF", "stress": "Δσ"}
COLUMNS = [
    "path",
    "verdict",
    "structures",
    *(words for name, unit in QUANTITIES.items() for words in (f"{_SIGNS[name]} ({unit})", "limit")),
    "remark",
]
_VERDICT = {True: "pass", False: "FAIL", None: "not tried"}


def rows(found: Parity, names: Sequence[str]) -> list[list[Any]]:
    """One per path; a deviation that is no number reads so."""
    made = []
    for result in found.results:
        row: list[Any] = [result.path, _VERDICT[result.passed], result.structures]
        for name in QUANTITIES:
            worst = result.worst.get(name)
            row += [None, None] if worst is None else [_number(worst.value), worst.tolerance]
        broken = [f"worst {name} in {names[w.structure]}" for name, w in result.worst.items() if w.severity > 1]
        made.append([*row, "; ".join([*broken, *([result.detail] if result.detail else [])])])
    return made


def sentence(found: Parity) -> str:
    """The result."""
    tried = [result for result in found.results if result.passed is not None]
    failed = [result.path for result in tried if result.passed is False]
    same = f"{len(tried) - len(failed)} of {len(tried)} paths give the numbers of plain evaluation within tolerance"
    return same + (f"; not so: {', '.join(failed)}" if failed else "")


def page(found: Parity, names: Sequence[str], facts: dict[str, Any]) -> Page:
    """Table of paths, what was refused, provenance."""
    made = Page("One model on every path", lead=f"{sentence(found)}.")
    made.table(COLUMNS, rows(found, names), caption=f"{found.model}, which computes in {found.precision}")
    made.text(
        "Each structure is evaluated alone with neighbours found for it, and then on every path. A tolerance is "
        "relative to the largest force of its structure (laws/precision.py) unless it was given; both columns belong "
        "to the structure that came nearest to its limit."
    )
    made.text(
        f"Rounding noise of this model on the smallest structure: {found.noise['energy']:.1e} eV in the energy, "
        f"{found.noise['forces']:.1e} eV/Å in a force component (measured; no path can agree better)."
    )
    if found.refused:
        made.heading("Not asked about")
        made.table(["structure", "why"], [[names[i], why] for i, why in found.refused.items()])
    made.heading("Provenance")
    made.facts(facts)
    return made


def _number(value: float) -> float | str:
    return value if value < float("inf") else "not a number"
