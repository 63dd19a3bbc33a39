"""The page of a comparison of models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from groundstate.api import Comparison
from groundstate.api.compare import LABELS
from groundstate.report import Page, agreement, structures

PAIR_COLUMNS = [
    "models",
    "structures",
    "force RMSE (eV/Å)",
    "largest (eV/Å)",
    "worst in",
    "ΔE RMSE (meV/atom)",
    "largest ΔE (meV/atom)",
    "rank of energies",
    "pressure RMSE (GPa)",
]
_TABLE = 200
"""Rows of structures a page shows; `--json` prints them all."""
_MOST_POINTS = 1500
"""Of one panel; of more, evenly chosen ones are drawn."""


def pair_rows(found: Comparison, names: Sequence[str]) -> list[list[Any]]:
    """One per pair of models."""
    return [
        [
            f"{pair.first} – {pair.second}",
            pair.structures,
            pair.force_rmse,
            pair.force_max,
            None if pair.worst is None else names[pair.worst],
            None if pair.relative_rmse is None else 1e3 * pair.relative_rmse,
            None if pair.relative_max is None else 1e3 * pair.relative_max,
            pair.rank,
            pair.pressure_rmse_GPa,
        ]
        for pair in found.pairs
    ]


def structure_columns(found: Comparison) -> list[str]:
    """Three columns for each model."""
    each = ("ΔE (meV/atom)", "|F| max (eV/Å)", "P (GPa)")
    return [
        "structure",
        "composition",
        "force spread (eV/Å)",
        *(f"{name}: {what}" for name in found.said for what in each),
    ]


def structure_rows(found: Comparison, names: Sequence[str]) -> list[list[Any]]:
    """One per structure; a model that refused has nothing there, and its reason is told elsewhere."""
    rows = []
    for i, name in enumerate(names):
        row: list[Any] = [name, found.compositions[i], found.spread[i]]
        for answers in found.said.values():
            said = answers[i]
            largest = None if said.forces is None else float(torch.linalg.vector_norm(said.forces, dim=1).max())
            row += [None if said.relative is None else 1e3 * said.relative, largest, said.pressure_GPa]
        rows.append(row)
    return rows


def refusals(found: Comparison, names: Sequence[str]) -> list[list[str]]:
    """Model, structure, why."""
    return [
        [model, names[i], said.refusal]
        for model, answers in found.said.items()
        for i, said in enumerate(answers)
        if said.refusal
    ]


def sentence(found: Comparison, names: Sequence[str]) -> str:
    """The result."""
    known = [pair for pair in found.pairs if pair.force_rmse is not None]
    if not known:
        return "No two of them answered about the same structure"
    closest, furthest = min(known, key=lambda p: p.force_rmse or 0), max(known, key=lambda p: p.force_rmse or 0)
    contested = found.most_contested(1)
    where = f"; most contested: {names[contested[0]]}" if contested else ""
    if closest is furthest:
        return f"Forces of {closest.first} and {closest.second} differ by {closest.force_rmse:.3g} eV/Å (RMSE){where}"
    return (
        f"Forces differ by {closest.force_rmse:.3g} eV/Å ({closest.first} – {closest.second}) to "
        f"{furthest.force_rmse:.3g} eV/Å ({furthest.first} – {furthest.second}){where}"
    )


def page(found: Comparison, names: Sequence[str], facts: dict[str, Any]) -> Page:
    """Pairs, matrix, the most contested structures, the table of all, refusals, provenance."""
    asked = [name for name in found.said if name != LABELS]
    who = ("1 model" if len(asked) == 1 else f"{len(asked)} models") + (" and labels" if LABELS in found.said else "")
    made = Page(f"{who} on {len(names)} structures", lead=f"{sentence(found, names)}.")
    made.table(PAIR_COLUMNS, pair_rows(found, names), caption="Disagreement of each two")
    made.text(
        "ΔE are energies per atom within a composition: in this table after the mean difference of each composition is "
        "taken out, below above the lowest structure of each. Absolute energies of two models are not compared: their "
        "zeros differ with the level of theory and mean nothing."
    )
    _matrix(made, found)
    contested = found.most_contested(3)
    if contested:
        made.heading("Where they disagree most")
        pictured = {f"{names[i]}: {found.spread[i]:.3g} eV/Å": found.structures[i] for i in contested}
        made.figure(structures(pictured), "Structures with the largest force RMSE between any two")
    made.heading("Every structure")
    rows = structure_rows(found, names)
    left = f", the first {_TABLE} of {len(rows)}" if len(rows) > _TABLE else ""
    made.table(structure_columns(found), rows[:_TABLE], caption=f"ΔE above the lowest of each composition{left}")
    if refused := refusals(found, names):
        made.heading("Not answered")
        made.table(["model", "structure", "why"], refused)
    made.heading("Provenance")
    level = {f"{name}: level of theory": theory or "not stated" for name, theory in found.theories.items()}
    made.facts({**found.models, **level, **facts})
    return made


def _matrix(made: Page, found: Comparison) -> None:
    """Force components below the diagonal, energies within compositions above it."""
    nothing = [np.full(3 * system.n_atoms, np.nan) for system in found.structures]
    forces = {
        name: np.concatenate(
            [
                empty if said.forces is None else said.forces.numpy().reshape(-1)
                for said, empty in zip(answers, nothing, strict=True)
            ]
        )
        for name, answers in found.said.items()
    }
    energies = {
        name: np.array([np.nan if said.relative is None else 1e3 * said.relative for said in answers])
        for name, answers in found.said.items()
    }
    forces = {name: values[:: -(-len(values) // _MOST_POINTS)] for name, values in forces.items()}
    energies = {name: values[:: -(-len(values) // _MOST_POINTS)] for name, values in energies.items()}
    figure = agreement(forces, energies, "force components (eV/Å)", "energy above the lowest (meV/atom)")
    made.figure(figure, "Each model (row) against each other (column); on the line they agree")
