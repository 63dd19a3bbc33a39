"""What is shown of a benchmark: tables on the terminal, a picture, one JSON document with every sample."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import roofline
import structures
import summary
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.console import Console
from rich.table import Table
from store import Store, write

from groundstate.atoms import find_neighbours
from groundstate.data import from_ase
from groundstate.equivariant.native.report import report as report_kernels

_COLOURS = {"ours": "#0b6e6e", "mace": "#d1495b", "chgnet": "#edae49", "sevenn": "#30638e", "nequip": "#7a5195"}
_MAIN = (
    ("Si 8, MD step, ms", "Si 64, µs/atom", "Si 216, µs/atom", "Si 512, µs/atom", "Si 4096, µs/atom"),
    tuple(f"{name}, µs/atom" for name in ("SrTiO3 40", "SrTiO3 135", "SrTiO3 320", "1 element 135", "6 elements 135")),
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
        "kernels": report_kernels()[:3],
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "load_averages": sorted({round(m["load"], 2) for m in measurements if "load" in m}),
        "contenders": store.hellos(),
        "peaks": store.peaks(),
        "summary": figures,
        "memory_MB": {name: summary.memory_of(cases) for name, cases in measured.items()},
        "roofline": _rooflines(figures, peak) | {"peak": peak},
        "agreement": _agreement(measured, store.hellos()),
        "measurements": measurements,
    }


def save(found: Mapping[str, Any], folder: Path) -> None:
    """results.json, speed.png, speed.svg"""
    write(folder / "results.json", found)
    figure = picture(found)
    for name in ("speed.png", "speed.svg"):
        figure.savefig(folder / name, dpi=150)


def show(found: Mapping[str, Any], console: Console) -> None:
    """Tables; in brackets how many times better than malloc-tuned mace-torch of the same shape and number type."""
    labels = {name: hello["label"] for name, hello in found["contenders"].items() if not name.endswith("2-threads")}
    for columns in _MAIN:
        table = Table()
        table.add_column("best of all samples (× mace-torch)", overflow="fold")
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
        console.print(f"{name}, converted from its reference, differs from it by {text}", highlight=False)
    untrained = sorted(n for n, hello in found["contenders"].items() if n.startswith("ours") and not hello["model"])
    if untrained:
        console.print(f"untrained, not converted from mace-torch: {', '.join(untrained)}", highlight=False)
    failures = Counter((one["contender"], one["error"]) for one in found["measurements"] if "error" in one)
    for (name, reason), count in failures.items():
        console.print(f"{name}: {count} measurements failed: {reason}", markup=False, highlight=False)


def picture(found: Mapping[str, Any]) -> Figure:
    """Time and memory against size, latency, training."""
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    (speed, memory), (latency, training) = figure.subplots(2, 2)
    names = sorted((n for n in found["contenders"] if not n.endswith("2-threads")), key=_rank)
    for name in names:
        style = {"color": _COLOURS[name.split("-")[0]], "label": found["contenders"][name]["label"], "ms": 5}
        style |= {"ls": _line(name), "marker": _marker(name), "lw": 1.3}
        style |= {"markerfacecolor": "white"} if "float64" in name else {}
        row = found["summary"].get(name, {})
        points = [(n, row[f"Si {n}, µs/atom"]["best"]) for n in structures.SILICON if f"Si {n}, µs/atom" in row]
        if points:
            speed.plot(*zip(*points, strict=True), **style)
        points = [(n, used) for n, used in found["memory_MB"].get(name, []) if n >= 64 and used > 0]
        if len(points) > 1:
            memory.plot(*zip(*points, strict=True), **style)
    _logarithmic(speed, "atoms (Si)", "energy, forces, stress: µs/atom, one thread")
    _logarithmic(memory, "atoms (Si)", "memory beyond the loaded process, MB")
    _bars(latency, found, names, "Si 8, MD step, ms", "one ASE MD step of 8 atoms, ms")
    _bars(training, found, names, "training, structures/s", "training, structures/s")
    figure.legend(*speed.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _rooflines(figures: Mapping[str, Any], peak: dict[str, Any]) -> dict[str, Any]:
    """Of each of our shapes, on the two structures of the headline."""
    found = {}
    for structure, atoms in (("Si 216", structures.silicon(216)), ("SrTiO3 135", structures.perovskite(135))):
        neighbours = find_neighbours(from_ase(atoms), _CUTOFF).n_edges / len(atoms)
        for name, row in figures.items():
            who, *rest = name.split("-")
            if who == "ours" and len(rest) == 2 and f"{structure}, µs/atom" in row:
                seconds = row[f"{structure}, µs/atom"]["best"] / 1e6
                found[f"{name}, {structure}"] = roofline.account(rest[0], rest[1], neighbours, seconds, peak)
    return found


def _agreement(measured: summary.Measured, hellos: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """|energy − the reference's| per atom, of contenders that loaded a model converted from the reference's."""
    found: dict[str, dict[str, float]] = {}
    for name, cases in measured.items():
        reference = measured.get(summary.reference_of(name), {})
        for case in ("evaluate Si 216", "evaluate SrTiO3 135"):
            if hellos[name]["model"] and case in cases and case in reference:
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
    rows = {name: row for name, row in found.items() if name != "peak"}
    if not rows:
        return
    table = Table()
    table.add_column("against the roofline")
    for title in ("MFLOP/atom", "messages", "products", "linear maps", "limit, µs/atom", "measured", "of the limit"):
        table.add_column(title, justify="right")
    for name, row in rows.items():
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
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel(title)


def _logarithmic(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")


def _line(name: str) -> str:
    if "float64" in name:
        return "--"
    return ":" if name.startswith("mace") and "tuned" not in name else "-"


def _marker(name: str) -> str:
    return "v" if "small" in name else "^" if "large" in name else "o"


def _rank(name: str) -> tuple[int, str]:
    return list(_COLOURS).index(name.split("-")[0]), name


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "–"
    ratio = f" ({figure['ratio']:.3g}×)" if "ratio" in figure else ""
    value = figure["best"]
    return (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}") + ratio
