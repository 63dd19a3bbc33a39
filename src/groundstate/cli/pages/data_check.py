"""The page of `data check`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from groundstate.api import DataCheck
from groundstate.atoms.elements import symbols
from groundstate.data import composition
from groundstate.data.lint import Examination
from groundstate.data.lint.finding import SEVERITIES
from groundstate.report import Page, on_a_line, structures

_SHOWN = 12
"""Frames of a finding that the page names; the JSON twin has all."""
_MOST_POINTS = 3000
CHECK_COLUMNS = ("check", "verdict", "what was looked at")


def check_rows(examination: Examination) -> list[list[str]]:
    """Each check, its verdict, and what it looked at."""
    return [[one.check, one.verdict, one.said] for one in examination.checks]


def counted(examination: Examination) -> str:
    """How many findings of each severity, in words."""
    severities = [finding.severity for finding in examination.findings]
    found = [f"{severities.count(s)} {s}{'s' * (severities.count(s) != 1)}" for s in SEVERITIES if s in severities]
    blind = sum(one.verdict == "not checked" for one in examination.checks)
    return ", ".join(found or ["nothing found"]) + (f"; {blind} checks could not look" if blind else "")


def examined(check: DataCheck, facts: Mapping[str, Any]) -> Page:
    """Findings with their frames, what was checked, references, labels as read."""
    examination = check.examination
    page = Page(f"Check of {len(examination.records)} labelled frames", lead=counted(examination) + ".")
    page.table(CHECK_COLUMNS, check_rows(examination))
    page.heading("Findings")
    if not examination.findings:
        page.text("None. A check that could not look has not passed: see the table.")
    for finding in examination.findings:
        page.text(f"{finding.severity}: {finding.what}. [{finding.code}]", note=finding.severity != "note")
        page.text(". ".join(filter(None, (finding.why, finding.fix))) + ".")
        if finding.frames:
            shown = ", ".join(examination.where(i) for i in finding.frames[:_SHOWN])
            more = len(finding.frames) - _SHOWN
            page.text(f"Frames: {shown}" + (f" and {more} more" if more > 0 else ""))
    _pictures(page, examination)
    _references(page, examination)
    for name, labels in check.labels.items():
        page.heading(f"Labels of {name}")
        rows = labels.as_table()
        if rows:
            page.table(list(rows[0]), [list(row.values()) for row in rows])
        for note in labels.notes:
            page.text(note, note=True)
    page.heading("Provenance")
    page.facts(facts)
    return page


def _pictures(page: Page, examination: Examination) -> None:
    panels = {one.check: one.points for one in examination.checks if one.points}
    if panels:
        page.heading("Energies against the work of forces and stresses")
        thin = {name: np.array(points[:: -(-len(points) // _MOST_POINTS)]).T for name, points in panels.items()}
        figure = on_a_line(
            {name: (x, y) for name, (x, y) in thin.items()}, "work of the labels (eV)", "change of energy (eV)"
        )
        data = {name: {"work (eV)": [x for x, _ in p], "energy (eV)": [y for _, y in p]} for name, p in panels.items()}
        page.figure(figure, "One point for each step between nearby frames: right labels lie on the line", data)
    worst = [
        (finding.code, index)
        for finding in examination.findings
        if finding.severity != "note"
        for index in finding.frames[:1]
    ]
    if worst:
        records = examination.records
        named = {f"{code}: frame {i} ({composition(records[i].system)})": records[i].system for code, i in worst[:4]}
        page.figure(structures(named), "The first frame of the gravest findings")


def _references(page: Page, examination: Examination) -> None:
    page.heading("Reference energies")
    columns = ["level of theory", "RMSE before (eV/atom)", "RMSE after (eV/atom)", "mean after (eV/atom)", "note"]
    rows = [
        [theory or "not stated", fit.rmse_before, fit.rmse_after, fit.mean_residual, fit.note]
        for theory, fit in examination.references.items()
    ]
    if rows:
        page.table(columns, rows, "Robust least squares of energies on composition")
        energies = [
            [theory or "not stated", symbol, fit.energies[z]]
            for theory, fit in examination.references.items()
            for z, symbol in zip(sorted(fit.energies), symbols(sorted(fit.energies)), strict=True)
        ]
        page.table(["level of theory", "element", "reference energy (eV)"], energies)
