"""Pages of train, finetune and evaluate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from groundstate.api import Predicted
from groundstate.data import Record, composition
from groundstate.report import Page, curves, parity, structures
from groundstate.training import ErrorTable, TrainResult

_UNITS = {"energy": "ΔE (eV/atom)", "forces": "force (eV/Å)", "stress": "stress (eV/Å³)"}
_MOST_POINTS = 2000
"""Of one panel; of more, evenly chosen ones are drawn, and the JSON twin has them all."""


def error_rows(tables: Mapping[str, ErrorTable]) -> list[list[Any]]:
    """Quantity, unit, RMSE of each table, MAE of each, for the quantities all have."""
    first = next(iter(tables.values()))
    names = [name for name in first.rows if all(name in table.rows for table in tables.values())]
    return [
        [name, first[name].unit] + [getattr(t[name], column) for column in ("rmse", "mae") for t in tables.values()]
        for name in names
    ]


def learnt(title: str, result: TrainResult, facts: Mapping[str, Any]) -> Page:
    """What training did to the errors, and how it went."""
    gains = [
        f"{name} {result.before[name].rmse:.3g} → {result.after[name].rmse:.3g} {result.after[name].unit}"
        for name in ("energy", "forces", "stress")
        if name in result.before.rows and name in result.after.rows
    ]
    page = Page(title, lead=f"Validation RMSE: {', '.join(gains)}.")
    columns = ["quantity", "unit", "RMSE before", "RMSE after", "MAE before", "MAE after"]
    frames = f"Errors on {result.after.frames} validation frames"
    page.table(columns, error_rows({"before": result.before, "after": result.after}), frames)
    if result.worse:
        page.text("Worse than before: " + ", ".join(result.worse), note=True)
    _learning_curves(page, result)
    page.heading("Provenance")
    page.facts({"file": str(result.path), "stopped by": result.stopped, "minutes": result.seconds / 60, **facts})
    return page


def _learning_curves(page: Page, result: TrainResult) -> None:
    history = result.history
    keys = [key for key in history[0] if key.startswith(("train", "valid"))] if history else []
    series = {
        key: ([float(i + 1) for i in range(len(history))], [float(line[key]) for line in history])
        for key in keys
        if all(key in line for line in history)
    }
    positive = {key: xy for key, xy in series.items() if min(xy[1], default=0.0) > 0}
    if positive:
        figure = curves(positive, "evaluation", "loss and errors (base units)", logarithmic=True)
        page.figure(figure, "Learning curves", series)


def evaluated(
    table: ErrorTable, records: Sequence[Record], results: Sequence[Predicted], facts: Mapping[str, Any]
) -> Page:
    """Errors of a model on labels: table, parity, the frames it is worst on."""
    said = ", ".join(f"{name} {table[name].rmse:.3g} {table[name].unit}" for name in _UNITS if name in table.rows)
    page = Page(f"Errors on {table.frames} labelled frames", lead=f"RMSE: {said}.")
    page.table(
        ["quantity", "unit", "RMSE", "MAE", "mean error", "components"],
        [[name, row.unit, row.rmse, row.mae, row.mean, row.count] for name, row in table.rows.items()],
    )
    panels = {label: pair for name, label in _UNITS.items() if len((pair := _pairs(name, records, results))[0])}
    if panels:
        data = {label: {"reference": x.tolist(), "predicted": y.tolist()} for label, (x, y) in panels.items()}
        figure = parity({label: {"model": _thinned(*pair)} for label, pair in panels.items()})
        caption = "Predicted against labelled; ΔE is the energy less its mean over the frames of a composition"
        page.figure(figure, caption, data)
    worst = _worst(records, results)
    if worst:
        page.heading("Where it is worst")
        page.table(
            ["frame", "formula", "force RMSE (eV/Å)"], [[n, composition(records[n].system), e] for n, e in worst]
        )
        page.figure(
            structures({f"frame {n}: {e:.3g} eV/Å": records[n].system for n, e in worst[:3]}),
            "Frames with the largest error of forces",
        )
    page.heading("Provenance")
    page.facts(facts)
    return page


def _pairs(name: str, records: Sequence[Record], results: Sequence[Predicted]) -> tuple[np.ndarray, np.ndarray]:
    """Labelled and predicted components of one quantity."""
    both = [
        (record, record.labels[name].double().reshape(-1), result.values[name].double().reshape(-1))
        for record, result in zip(records, results, strict=True)
        if name in record.labels and name in result.values
    ]
    if not both:
        return np.zeros(0), np.zeros(0)
    if name != "energy":
        return torch.cat([x for _, x, _ in both]).numpy(), torch.cat([y for _, _, y in both]).numpy()
    members: dict[str, list[tuple[float, float]]] = {}
    for record, x, y in both:
        members.setdefault(composition(record.system), []).append(
            (float(x) / record.n_atoms, float(y) / record.n_atoms)
        )
    centred = [np.array(pairs) - np.mean(pairs, axis=0) for pairs in members.values() if len(pairs) > 1]
    joined = np.concatenate(centred) if centred else np.zeros((0, 2))
    return joined[:, 0], joined[:, 1]


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = -(-len(x) // _MOST_POINTS)
    return x[::step], y[::step]


def _worst(records: Sequence[Record], results: Sequence[Predicted]) -> list[tuple[int, float]]:
    """Ten frames by the error of their forces."""
    errors = [
        (i, float((result.values["forces"] - record.labels["forces"]).square().mean().sqrt()))
        for i, (record, result) in enumerate(zip(records, results, strict=True))
        if "forces" in record.labels and "forces" in result.values
    ]
    return sorted(errors, key=lambda entry: -entry[1])[:10]
