"""Pages of fine-tuning: the certificate, and the advice."""

from collections.abc import Mapping
from typing import Any

from groundstate.report.figures import curves
from groundstate.report.page import Page
from groundstate.training import Advice, Certificate, ErrorTable
from groundstate.training.advice import WAYS


def certificate_page(certificate: Certificate, facts: Mapping[str, Any]) -> Page:
    """What a tuned model gained and lost against its base."""
    verdict = "Better than its base in all that was measured."
    if not certificate.better:
        verdict = "Not better than its base: " + "; ".join(certificate.reasons) + "."
    page = Page("Certificate of fine-tuning", lead=verdict)
    for doubt in certificate.doubts:
        page.text(f"Doubt: {doubt}.", note=True)
    page.heading("Target")
    caption = f"Errors on {certificate.after.frames} validation frames"
    _errors(page, certificate.before, certificate.after, caption)
    page.heading("Base set")
    _base_set(page, certificate)
    page.heading("Laws")
    page.table(
        ["law", "before", "after", "measured before", "measured after", "tolerance", "unit"],
        [[row.law, row.before, row.after, *row.measured, row.tolerance, row.unit] for row in certificate.laws],
    )
    _pictures(page, certificate)
    page.heading("What moved")
    page.table(
        ["part", "change of its weights (%)", "numbers", "of which changed (%)"],
        [[row.part, 100 * row.relative, row.numbers, 100 * row.changed] for row in certificate.moved],
    )
    page.heading("Leakage")
    near = certificate.nearness
    page.text("No structure is in both sets (checked before training).")
    page.facts(
        {
            "validation frames": near.judged,
            "with a taught structure of the same atoms": near.compared,
            "nearer than 0.05 Å to one": near.near_copies,
            "smallest distance (Å)": near.smallest,
            "median distance (Å)": near.median,
        }
    )
    page.heading("Provenance")
    page.facts({"base": certificate.base, "tuned": certificate.model, **certificate.plan, **facts})
    return page


def advice_page(advice: Advice, facts: Mapping[str, Any]) -> Page:
    """Both learning curves and what they say."""
    page = Page("Fine-tune or train from scratch?", lead=advice.sentence)
    series, data = {}, {}
    for way in WAYS:
        curve = advice.curve(way)
        if not curve.problem:
            sizes = [min(curve.sizes) * (10 * max(curve.sizes) / min(curve.sizes)) ** (i / 40) for i in range(41)]
            series[f"{way}, fitted"] = (sizes, [curve.at(size).value for size in sizes])
        series[way] = (list(curve.sizes), list(curve.errors))
        data[way] = {"structures": list(curve.sizes), "error": list(curve.errors)}
    label = f"RMSE of {advice.quantity} ({advice.unit})"
    levels = {"base as it is": advice.untrained, "wanted": advice.wanted}
    figure = curves(series, "structures", label, logarithmic=True, markers=True, levels=levels)
    page.figure(figure, "Error against structures to learn from; every point is one fit", data)
    page.table(
        ["structures", "way", "subset", label, "training (s)"],
        [[point.size, point.way, point.repeat + 1, point.error, point.seconds] for point in advice.points],
    )
    page.table(
        ["way", "exponent", "its interval", "at 2 × the data", "interval", "extrapolated"],
        [_outlook(advice, way) for way in WAYS],
        "Fitted curves; intervals hold 90 % of the bootstrap",
    )
    page.heading("Provenance")
    page.facts(facts)
    return page


def _outlook(advice: Advice, way: str) -> list[Any]:
    curve = advice.curve(way)
    if curve.problem:
        return [way, None, None, None, None, f"no: {curve.problem}"]
    exponent, further = curve.exponent, curve.at(2.0 * max(curve.sizes))
    ends = [f"{one.low:.3g} … {one.high:.3g}" for one in (exponent, further)]
    return [way, exponent.value, ends[0], further.value, ends[1], "yes"]


def _errors(page: Page, before: ErrorTable, after: ErrorTable, caption: str) -> None:
    rows = [
        [name, row.unit, before[name].rmse, row.rmse, before[name].mae, row.mae]
        for name, row in after.rows.items()
        if name in before.rows
    ]
    page.table(["quantity", "unit", "RMSE before", "RMSE after", "MAE before", "MAE after"], rows, caption)


def _base_set(page: Page, certificate: Certificate) -> None:
    found = certificate.base_set
    if found.after is None:
        page.text(f"Source {found.source}.")
        return
    page.text(f"{found.frames} structures, {found.source}.")
    if found.before is not None:
        _errors(page, found.before, found.after, "Errors by labels of their own")
        return
    rows = [[name, row.unit, row.rmse, row.mae] for name, row in found.after.rows.items()]
    page.table(["quantity", "unit", "RMS change", "mean change"], rows, "Difference to the base's own predictions")


def _pictures(page: Page, certificate: Certificate) -> None:
    if certificate.diatomics:
        page.heading("Two atoms alone")
    for pair in certificate.diatomics:
        ceiling = max(5.0, 2 * abs(min(pair.before + pair.after)))
        series = {}
        for name, energies in (("before", pair.before), ("after", pair.after)):
            shown = [(r, e) for r, e in zip(pair.distances, energies, strict=True) if e < ceiling]
            series[name] = ([r for r, _ in shown], [e for _, e in shown])
        data = {"distance": pair.distances, "before": pair.before, "after": pair.after}
        page.figure(curves(series, "distance (Å)", "energy (eV)"), f"{pair.pair}, minima {pair.minima}", data)
    if certificate.volumes:
        page.heading("Energy against volume")
        columns = ["formula", "volume before (Å³/atom)", "after", "bulk modulus before (GPa)", "after"]
        rows = [[row.formula, *row.volume, *row.bulk_modulus_GPa] for row in certificate.volumes]
        page.table(columns, rows, "The calmest taught structure of each composition, scaled with its atoms in place")
    for row in certificate.volumes:
        series = {"before": (row.volumes, row.before), "after": (row.volumes, row.after)}
        data = {"volume": row.volumes, "before": row.before, "after": row.after}
        page.figure(curves(series, "volume (Å³/atom)", "energy (eV/atom)"), row.formula, data)
