"""Pages of predict, relax and md."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from groundstate.api import Predicted
from groundstate.atoms import System
from groundstate.cli.tables import conclude, tabulate
from groundstate.report import Page, curves, structures
from groundstate.simulation import MDResult, RelaxResult

_PICTURED = 4
Row = Mapping[str, Any]


def predicted(rows: Sequence[Row], results: Sequence[Predicted], names: Sequence[str], facts: Row) -> Page:
    """What a model says of structures as they are."""
    refused = sum(result.problem is not None for result in results)
    forces = [
        float(torch.linalg.vector_norm(result.values["forces"], dim=1).max())
        for result in results
        if "forces" in result.values
    ]
    said = f"{len(results) - refused} of {len(results)} structures have an answer"
    page = Page("Prediction", lead=said + (f"; largest force {max(forces):.3g} eV/Å." if forces else "."))
    _pictures(page, {name: result.system for name, result in zip(names, results, strict=True)}, "The structures")
    tabulate(page, rows)
    if len(forces) > 1:
        ordered = {"largest force": (np.arange(1, len(forces) + 1), np.sort(forces)[::-1])}
        data = {"largest force (eV/Å)": sorted(forces, reverse=True)}
        page.figure(curves(ordered, "structure, by size of force", "largest force (eV/Å)", markers=True),
                    "How far the structures are from equilibrium", data)  # fmt: skip
    return conclude(page, facts)


def relaxed(
    rows: Sequence[Row], before: Sequence[System], results: Sequence[RelaxResult], names: Sequence[str], facts: Row
) -> Page:
    """How relaxations ended: before and after, the longest displacement, the table."""
    ends = [result.status for result in results]
    page = Page("Relaxation", lead=", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends)) + ".")
    pictured = {}
    for name, start, result in list(zip(names, before, results, strict=True))[: _PICTURED // 2]:
        pictured[f"{name}, given"] = start
        if result.status != "invalid":
            pictured[f"{name}, {result.status}"] = result.system
    _pictures(page, pictured, _caption("Before and after", len(results), _PICTURED // 2))
    tabulate(page, [{**row, **_changes(a, r)} for row, a, r in zip(rows, before, results, strict=True)])
    page.text(
        "Lengths are those of the lattice vectors; the longest path is that of the atom which moved furthest, with the "
        "change of the cell taken out."
    )
    return conclude(page, {**facts, **_settings(results[0].record)})


def moved(rows: Sequence[Row], results: Sequence[MDResult], names: Sequence[str], facts: Row) -> Page:
    """How runs went: temperature, energies, forces along the way, the last frames."""
    ends = [result.status for result in results]
    steps = max(result.steps for result in results)
    said = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
    page = Page("Molecular dynamics", lead=f"{said}; up to {steps} steps, {results[0].time_fs / 1000:.3g} ps.")
    tabulate(page, rows)
    ran = [(name, r) for name, r in zip(names, results, strict=True) if len(r.samples.get("time_fs", ())) > 1][:6]
    for column, label in (
        ("temperature_K", "temperature (K)"),
        ("potential", "potential energy from its start (meV/atom)"),
        ("total", "total energy from its start (meV/atom)"),
        ("conserved", "conserved energy from its start (meV/atom)"),
        ("pressure_GPa", "pressure (GPa)"),
        ("volume", "volume (Å³)"),
        ("max_force", "largest force (eV/Å)"),
    ):
        series = {name: (r.samples["time_fs"].numpy(), _along(r, column)) for name, r in ran if column in r.samples}
        if series:
            data = {name: {"time_fs": x.tolist(), column: y.tolist()} for name, (x, y) in series.items()}
            page.figure(curves(series, "time (fs)", label), f"{label} along the run", data)
    frames = {name: result.system for name, result in zip(names, results, strict=True)}
    _pictures(page, frames, "Last good frames")
    return conclude(page, {**facts, **_settings(results[0].record)})


def _along(result: MDResult, column: str) -> np.ndarray:
    values = result.samples[column].numpy()
    energy = column in ("potential", "total", "conserved")
    return 1e3 * (values - values[0]) / result.system.n_atoms if energy else values


def _changes(before: System, result: RelaxResult) -> dict[str, Any]:
    """Lattice lengths at the end and how far atoms went; nothing for what was never computed."""
    if result.status == "invalid":
        return {"a, b, c (Å)": None, "longest path (Å)": None}
    after, periodic = result.system, bool(before.pbc.any())
    lengths = (
        ", ".join(f"{x:.4f}" for x in torch.linalg.vector_norm(after.cell[0], dim=1).tolist()) if periodic else None
    )
    carried = before.positions
    if periodic and float(before.volume[0]) > 1e-6:
        carried = before.positions @ torch.linalg.solve(before.cell[0], after.cell[0])
    path = (after.positions - carried) - (after.positions - carried).mean(dim=0)
    return {"a, b, c (Å)": lengths, "longest path (Å)": float(torch.linalg.vector_norm(path, dim=1).max())}


def _pictures(page: Page, named: Mapping[str, System], caption: str) -> None:
    shown = dict(list(named.items())[:_PICTURED])
    page.figure(structures(shown), _caption(caption, len(named), _PICTURED))


def _caption(caption: str, count: int, shown: int) -> str:
    return caption + (f" (the first {shown} of {count})" if count > shown else "")


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked of a run, as its record states it."""
    return {name: str(value) for name, value in record["config"].items() if name != "inputs" and value is not None}
