"""Pages of label and check."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from groundstate.cli.tables import conclude, tabulate
from groundstate.quantum import Label, Verification
from groundstate.report import Page, curves, parity

Row = Mapping[str, Any]


def labelled(rows: Sequence[Row], labels: Sequence[Label], facts: Row) -> Page:
    """What was computed, what failed and why, what it cost."""
    ends = Counter(str(row["status"]) for row in rows)
    lead = f"{labels[0].theory.label}: " + ", ".join(f"{count} {end}" for end, count in ends.items()) + "."
    page = Page("Reference labels", lead)
    done = sorted((one for one in labels if one.problem is None), key=lambda one: one.system.n_atoms)
    if len(done) > 1:
        sizes, seconds = [one.system.n_atoms for one in done], [one.seconds for one in done]
        data = {"atoms": sizes, "seconds": seconds}
        page.figure(curves({"labels": (sizes, seconds)}, "atoms", "seconds", markers=True), "Cost by size", data)
    tabulate(page, rows)
    return conclude(page, facts)


def checked(rows: Sequence[Row], result: Verification, facts: Row) -> Page:
    """How a model differs from quantum mechanics on these structures."""
    theory = result.rows[0].label.theory
    summary = ", ".join(f"{name}: {value:.3g}" for name, value in result.summary().items() if value is not None)
    page = Page(f"{result.model} against {theory.label}", f"{summary or 'no structure has both answers'}.")
    both = [row for row in result.rows if "forces" in row.predicted and "forces" in row.label.values]
    if both:
        reference = torch.cat([row.label.values["forces"] for row in both]).ravel().tolist()
        predicted = torch.cat([row.predicted["forces"] for row in both]).ravel().tolist()
        picture = parity({"force component (eV/Å)": {result.model: (reference, predicted)}})
        data = {"reference (eV/Å)": reference, "predicted (eV/Å)": predicted}
        page.figure(picture, "Forces of the model against those of quantum mechanics", data)
    tabulate(page, rows)
    page.text(
        "Δ(ΔE) compares energy differences to the first structure of the same composition: zeros of energy differ "
        "between programs and absolute energies say nothing."
    )
    if not result.same_theory:
        page.text(
            f"The model does not say that it was trained at {theory.label}: part of this may be theory.", note=True
        )
    return conclude(page, facts)
