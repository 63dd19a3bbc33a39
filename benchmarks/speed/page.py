"""What is shown of a benchmark: tables on the terminal, a picture, one JSON document with every sample."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import roofline
import structures
import summary
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from store import Store, write

from groundstate.atoms import find_neighbours
from groundstate.data import from_ase

_COLOURS = {"ours": "#0b6e6e", "mace": "#d1495b", "chgnet": "#edae49", "sevenn": "#30638e", "nequip": "#7a5195"}
_MAIN = (
    ("Si 8, MD step, ms", "Si 64, µs/atom", "Si 216, µs/atom", "Si 512, µs/atom", "Si 4096, µs/atom"),
    ("SrTiO3 40, µs/atom", "SrTiO3 135, µs/atom", "SrTiO3 320, µs/atom"),
    ("1 element 135, µs/atom", "SrTiO3 135, µs/atom", "6 elements 135, µs/atom"),
    (summary.MEMORY, "small crystals, /s", "training, structures/s", summary.THREADS, "Si 8, ASE call, ms"),
)
_CUTOFF = 6.0


def document(store: Store, machine: dict[str, Any], commit: str, command: str) -> dict[str, Any]:
    """Everything that is on disk, and what follows from it."""
    measurements = list(store.all())
    measured = summary.grouped(measurements)
    figures = summary.summarise(measured)
    peak = roofline.best(store.peaks())
    return {
        "machine": machine,
        "commit": commit,
        "command": command,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "load_averages": sorted({round(m["load"], 2) for m in measurements if "load" in m}),
        "contenders": store.hellos(),
        "peaks": store.peaks(),
        "summary": figures,
        "memory_MB": {name: summary.memory_of(cases) for name, cases in measured.items()},
        "roofline": _rooflines(figures, peak) | {"peak": peak},
        "agreement": _agreement(measured),
        "measurements": measurements,
    }


def save(found: Mapping[str, Any], folder: Path) -> None:
    """results.json, speed.png, speed.svg"""
    write(folder / "results.json", found)
    figure = picture(found)
    for name in ("speed.png", "speed.svg"):
        figure.savefig(folder / name, dpi=150)


def show(found: Mapping[str, Any], console: Console) -> None:
    """Tables; in brackets how many times better than malloc-tuned mace-torch."""
    labels = {name: hello["label"] for name, hello in found["contenders"].items() if not name.endswith("2-threads")}
    for columns in _MAIN:
        table = Table(title_justify="left")
        table.add_column("processor time, best of all samples (× mace-torch, tuned)", overflow="fold")
        shown = [title for title in columns if any(title in row for row in found["summary"].values())]
        for title in shown:
            table.add_column(title, justify="right")
        for name in sorted(labels, key=_rank):
            table.add_row(labels[name], *(_cell(found["summary"].get(name, {}).get(title)) for title in shown))
        if shown:
            console.print(table)
    for name, row in sorted(found["summary"].items()):
        on, off = (row.get(f"Si 216, MD step, {skin}, ms") for skin in ("skin 1 Å", "no skin"))
        if on and off:
            console.print(
                f"{labels[name]}, Si 216, MD step: {on['best']:.3g} ms with a skin, {off['best']:.3g} without"
            )
    _show_roofline(found["roofline"], console)
    for name, differences in found["agreement"].items():
        text = ", ".join(f"{value:.1e} eV/atom on {structure}" for structure, value in differences.items())
        console.print(f"{name} and its reference differ by {text}", highlight=False)
    for one in found["measurements"]:
        if reason := one.get("error"):
            console.print(f"{one['contender']}: {one['case']} failed: {reason}", markup=False, highlight=False)


def picture(found: Mapping[str, Any]) -> Figure:
    """Time and memory against size, latency, training."""
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    (speed, memory), (latency, training) = figure.subplots(2, 2)
    names = sorted((n for n in found["contenders"] if not n.endswith("2-threads")), key=_rank)
    for name in names:
        style = {"color": _COLOURS[name.split("-")[0]], "label": found["contenders"][name]["label"], "ms": 4}
        style |= {"ls": _line(name), "marker": "o", "lw": 1.3}
        row = found["summary"].get(name, {})
        points = [(n, row[f"Si {n}, µs/atom"]["best"]) for n in structures.SILICON if f"Si {n}, µs/atom" in row]
        if len(points) > 1:
            speed.plot(*zip(*points, strict=True), **style)
        points = [(n, used) for n, used in found["memory_MB"].get(name, []) if n >= 64 and used > 0]
        if len(points) > 1:
            memory.plot(*zip(*points, strict=True), **style)
    _logarithmic(speed, "atoms (Si)", "energy, forces, stress: µs/atom, one thread")
    _logarithmic(memory, "atoms (Si)", "memory beyond the loaded process, MB")
    _bars(latency, found, names, "Si 8, MD step, ms", "one ASE MD step of 8 atoms, ms")
    _bars(training, found, names, "training, structures/s", "training, structures/s")
    if speed.has_data():
        speed.legend(frameon=False, fontsize=8)
    return figure


def _rooflines(figures: Mapping[str, Any], peak: dict[str, Any]) -> dict[str, Any]:
    """Of each of our shapes, on silicon."""
    system = from_ase(structures.silicon(216))
    neighbours = find_neighbours(system, _CUTOFF).n_edges / system.n_atoms
    found = {}
    for name, row in figures.items():
        who, *rest = name.split("-")
        if who == "ours" and len(rest) == 2 and "Si 216, µs/atom" in row:
            seconds = row["Si 216, µs/atom"]["best"] / 1e6
            found[name] = roofline.account(rest[0], rest[1], neighbours, seconds, peak)
    return found


def _agreement(measured: summary.Measured) -> dict[str, dict[str, float]]:
    """|energy − the reference's| per atom; small only where ours is converted from the reference's own model."""
    found: dict[str, dict[str, float]] = {}
    for name, cases in measured.items():
        reference = measured.get(summary.reference_of(name), {})
        for case in ("evaluate Si 216", "evaluate SrTiO3 135"):
            if name.startswith("ours") and not name.endswith("threads") and case in cases and case in reference:
                one, other = cases[case][0], reference[case][0]
                difference = abs(one["values"]["energy"] - other["values"]["energy"]) / one["atoms"]
                found.setdefault(name, {})[one["structure"]] = difference
    return found


def _show_roofline(found: Mapping[str, Any], console: Console) -> None:
    peak = found["peak"]
    if "error" in peak:
        console.print(f"roofline: {peak['error']}", markup=False)
        return
    reads = ", ".join(f"{level} {value:.0f}" for level, value in peak["reads"].items())
    console.print(
        f"one core: {peak['float32']:.0f} GFLOP/s float32, {peak['float64']:.0f} float64; reads in GB/s: {reads}",
        highlight=False,
    )
    table = Table(title="Si 216 against the roofline", title_justify="left")
    for title in (
        "",
        "MFLOP/atom",
        "of it messages",
        "products",
        "linear maps",
        "limit, µs/atom",
        "measured",
        "of limit",
    ):
        table.add_column(title, justify="right" if title else "left")
    for name, row in found.items():
        if name != "peak":
            parts = {part: sum(work.values()) for part, work in row["MFLOP"].items()}
            sums = [sum(v for p, v in parts.items() if p.startswith(k)) for k in ("message", "product", "linear")]
            numbers = [row["total_MFLOP"], *sums, row["floors_us"]["arithmetic"], row["measured_us"]]
            table.add_row(name, *(f"{number:.3g}" for number in numbers), f"{row['fraction']:.0%}")
    console.print(table)


def _bars(axes: Axes, found: Mapping[str, Any], names: list[str], column: str, title: str) -> None:
    rows = [
        (name, found["summary"][name][column]["best"]) for name in names if column in found["summary"].get(name, {})
    ]
    if not rows:
        axes.set_axis_off()
        return
    labels = [found["contenders"][name]["label"] for name, _ in rows]
    bars = axes.barh(labels, [value for _, value in rows], color=[_COLOURS[name.split("-")[0]] for name, _ in rows])
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel(title)


def _logarithmic(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)


def _line(name: str) -> str:
    if "float64" in name:
        return "--"
    return ":" if name.startswith("mace") and "tuned" not in name else "-"


def _rank(name: str) -> tuple[int, str]:
    return list(_COLOURS).index(name.split("-")[0]), name


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "–"
    ratio = f" ({figure['ratio']:.3g}×)" if "ratio" in figure else ""
    value = figure["best"]
    return (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}") + ratio
