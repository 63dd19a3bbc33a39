"""Pages of models, models convert, laws and doctor."""

from collections.abc import Mapping, Sequence
from typing import Any

from groundstate.laws import LawResult
from groundstate.report import Page

Row = Mapping[str, Any]


def examined(model: str, results: Sequence[LawResult], rows: Sequence[Row], facts: Row) -> Page:
    """Which laws a model keeps, and how far from its limit each measure is."""
    kept = sum(result.passed is True for result in results)
    broken = [result.law for result in results if result.passed is False]
    said = f"{kept} of {kept + len(broken)} laws that apply are kept"
    page = Page(f"Laws of physics: {model}", lead=said + (f"; broken: {', '.join(broken)}." if broken else "."))
    page.table(["law", "verdict", "measured", "tolerance", "unit", "what was seen"], [
        [row["law"], row["verdict"], row["measured"], row["tolerance"], row["unit"], row["detail"]] for row in rows
    ])  # fmt: skip
    page.heading("Provenance")
    page.facts(facts)
    return page


def described(rows: Sequence[Row]) -> Page:
    """Public models side by side, or one in full."""
    if len(rows) == 1:
        page = Page(f"Model {rows[0].get('id') or rows[0].get('fingerprint')}", lead="What is known of this model.")
        page.facts({name: str(value) for name, value in rows[0].items()})
        return page
    page = Page("Public models", lead=f"{len(rows)} models can be loaded by name.")
    columns = ["id", "licence", "parameters", "elements", "theory"]
    page.table(columns, [[len(row[c].split()) if c == "elements" else row[c] for c in columns] for row in rows])
    return page


def converted(file: str, target: str, model: str, facts: Row) -> Page:
    """What became of a checkpoint."""
    page = Page("A model converted", lead=f"{file} is now {target}, {model}.")
    page.text(
        "The same function in our own network. `groundstate parity` with --reference-checkpoint computes your "
        "structures with both and compares.",
        note=True,
    )
    page.heading("Provenance")
    page.facts(facts)
    return page


def machine(facts: Row, kernels: Sequence[Row], packages: Sequence[Row]) -> Page:
    """This machine, its kernels, its packages, and the line that mends what is missing."""
    missing = [str(row["package"]) for row in packages if row["version"] is None]
    said = f"{len(packages) - len(missing)} of {len(packages)} packages are installed"
    page = Page("This machine", lead=said + (f"; missing: {', '.join(missing)}." if missing else "."))
    page.facts(facts)
    page.heading("Kernels")
    page.table(["kernel", "state", "what to do"], [[k["name"], k["state"], k["fix"]] for k in kernels])
    page.heading("Packages")
    page.table(["package", "version", "how to install"], [[p["package"], p["version"], p["install"]] for p in packages])
    return page
