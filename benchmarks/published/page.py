"""docs/published.md, made of the cards."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cards import QUANTITIES
from sets import PublishedSet

from groundstate.training.learning_curve import LEVEL, fit_learning_curve

MARKS = {"primary": "", "secondary": "†", "memory": "*"}
HEAD = """# Errors on published sets

Written by `benchmarks/published/run.py --table --write docs/published.md` from the cards in `recipes/cards`. A card is
written by one command, here for molybdenum:

```sh
python benchmarks/published/run.py mlearn-Mo --data DATA --output runs --seed 0
```

DATA is a folder with the files that the card names, by path and SHA-256. Each run is a recipe of `recipes/`, from
scratch unless its notes say otherwise, on one thread, for the minutes shown. Validation frames choose the epoch, and
chose the options; the test parts judge. Energies and forces are taught and compared. Stresses are left out: those of
Cu, Ni and Mo in mlearn have yz and xz exchanged. ± is the standard deviation over seeds of weights and batches, with
one split of the data for all; "mean of its seeds" is what their models say together (`Committee`, their number in
brackets), at as many times the cost.

Published numbers without a mark were read in a primary source; † in somebody else's transcription; those marked \\* are
from memory and unchecked. Energies are meV per atom, except for molecules, whose energies are compared whole.

Minutes are those of a clock; the core was shared with other work, and brackets hold those that it worked for the run,
where they were counted. Test frames of copper and nickel that have copies are strained perfect cells, whose forces
vanish: errors without them are those of other kinds of frames, not only of unseen ones.
"""
MISSED = """## What falls short

Of the floors set beforehand. Last column: mean absolute errors (forces, or energies per atom) on training frames in the
last epoch and on validation frames. Far apart, more data would help; close together, more time or a larger model.

| | quantity | error | floor | training → validation |
|---|---|---|---|---|"""
GROWTH = f"""## Error against number of structures

ε = c + a N^(−b) through the runs of all seeds (`training.learning_curve`); the interval holds {100 * LEVEL:.0f} % of
the bootstrap. Validation frames are the same for all N. Minutes differ: this is the exponent of these runs, not of
converged ones.
"""


def page(sets: Mapping[str, PublishedSet], cards: Path) -> str:
    """Markdown."""
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(cards.glob("*.json"))}
    families: dict[str, list[str]] = {}
    for name in sets:
        families.setdefault(name.split("-")[0], []).append(name)
    parts = [HEAD]
    for names in families.values():
        measured = [name for name in names if name in found]
        if measured:
            parts.append(_family({name: sets[name] for name in measured}, found))
    parts += [_missed(sets, found), _growth(sets, found)]
    return "\n".join(part for part in parts if part)


def _family(sets: Mapping[str, PublishedSet], found: Mapping[str, Any]) -> str:
    """Methods against test parts, and how ours was made."""
    first = next(iter(sets.values()))
    columns = [(name, part) for name, own in sets.items() for part in own.tests]
    methods = dict.fromkeys(m for own in sets.values() for part in own.tests.values() for m in part.published)
    title = first.title if len(sets) == 1 else ", ".join(own.title for own in sets.values())
    lines = [f"## {title}", "", f"{first.error.upper()}. Each cell: energy / forces.", ""]
    lines.append("| | " + " | ".join(_column(name, part, sets) for name, part in columns) + " |")
    lines.append("|---|" + "---|" * len(columns))
    ours = [
        " / ".join(_value(found[name]["results"][part][quantity]) for quantity in QUANTITIES) for name, part in columns
    ]
    lines.append("| **this package** | " + " | ".join(f"**{cell}**" for cell in ours) + " |")
    if any("together" in found[name] for name in sets):
        lines.append("| mean of its seeds | " + " | ".join(_together(found[n], sets[n], p) for n, p in columns) + " |")
    for method in methods:
        cells = [_published(sets[name].tests[part].published.get(method)) for name, part in columns]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| set | taught + choosing | parameters | minutes (of a core) | seeds | epochs | commit |",
        "|---|" + "---|" * 6,
    ]
    for name in sets:
        lines.append(_made(name, found[name]))
    lines += ["", f"Processor: {', '.join(dict.fromkeys(r['processor'] for n in sets for r in found[n]['runs']))}.", ""]
    for name, own in sets.items():
        lines += _copies(name, own, found[name])
        lines += _paragraph(f"{own.title}: {own.notes}.") if own.notes else []
    return "\n".join(lines)


def _column(name: str, part: str, sets: Mapping[str, PublishedSet]) -> str:
    short = name.split("-")[-1] if len(sets) > 1 else ""
    unit = "meV/atom, meV/Å" if sets[name].energy == "atom" else "meV, meV/Å"
    return f"{short or part} ({unit})"


def _value(result: Mapping[str, Any]) -> str:
    spread = "" if result["spread"] is None else f" ± {result['spread']:.2g}"
    return f"{result['value']:.3g}{spread}"


def _together(card: Mapping[str, Any], own: PublishedSet, part: str) -> str:
    """What the models of all seeds say together."""
    if "together" not in card:
        return "–"
    tests = card["together"]["tests"][part]
    return " / ".join(f"{tests[q][own.error]:.3g}" for q in QUANTITIES) + f" ({len(card['together']['seeds'])})"


def _published(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    return " / ".join(f"{value[q]:g}" if q in value else "–" for q in QUANTITIES) + MARKS[value["seen"]]


def _made(name: str, card: Mapping[str, Any]) -> str:
    runs, frames = card["runs"], card["frames"]
    minutes = " ".join(dict.fromkeys(f"{_short(run['minutes'])} ({_core_minutes(run)})" for run in runs))
    epochs = " ".join(dict.fromkeys(f"{run['epochs']:.0f}" for run in runs))
    commits = " ".join(dict.fromkeys(f"`{run['commit'][:9]}`" for run in runs))
    taught = f"{frames['train']} + {frames['valid']}"
    return f"| {name} | {taught} | {card['parameters']} | {minutes} | {len(runs)} | {epochs} | {commits} |"


def _core_minutes(run: Mapping[str, Any]) -> str:
    """Minutes that a core worked; not known of a run that was continued."""
    spent = run.get("processor_minutes")
    return "–" if spent is None else _short(spent)


def _short(minutes: float) -> str:
    return f"{minutes:.0f}" if minutes >= 5 else f"{minutes:.1f}"


def _copies(name: str, own: PublishedSet, card: Mapping[str, Any]) -> list[str]:
    """What test frames that are copies by symmetry make of the error."""
    lines = []
    for part, count in card["near copies in the training file"].items():
        if not count:
            continue
        frames = card["frames"][f"test, {part}"]
        without = [run["tests"][part].get("without copies") for run in card["runs"]]
        cells = [sum(one[q][own.error] for one in without) / len(without) for q in QUANTITIES if all(without)]
        said = f"; without them {cells[0]:.3g} / {cells[1]:.3g}" if cells else ""
        lines += _paragraph(
            f"{name}, {part}: {count} of the {frames} test frames have a rotated, reflected or slightly moved copy in"
            f" the training file{said}."
        )
    return lines


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(text, 118, break_on_hyphens=False), ""]


def _missed(sets: Mapping[str, PublishedSet], found: Mapping[str, Any]) -> str:
    """Results above the floor they were to reach."""
    lines = []
    for name, own in sets.items():
        for part in own.tests if name in found else ():
            for quantity in QUANTITIES:
                result = found[name]["results"][part][quantity]
                if result.get("floor reached") is False:
                    lines.append(
                        f"| {name}, {part} | {quantity} | {_value(result)} {result['unit']} | {result['floor']:g} |"
                        f" {_ends(found[name], quantity)} |"
                    )
    if not lines:
        return ""
    return "\n".join([MISSED, *lines, ""])


def _ends(card: Mapping[str, Any], quantity: str) -> str:
    curve = card["runs"][0]["curve"]
    return f"{curve[f'train {quantity}'][-1]:.3g} → {curve[f'valid {quantity}'][-1]:.3g}"


def _growth(sets: Mapping[str, PublishedSet], found: Mapping[str, Any]) -> str:
    """Errors on the test part against frames taught, and the exponent."""
    lines: list[str] = []
    for name, own in sets.items():
        cards = [found[key] for key in (*(f"{name}-{n}" for n in sorted(own.subsets)), name) if key in found]
        if len(cards) < 3:
            continue
        part = next(iter(own.tests))
        lines += [
            f"{own.title}, part {part}:",
            "",
            "| frames taught | minutes | seeds | energy | forces |",
            "|---|---|---|---|---|",
        ]
        for card in cards:
            cells = " | ".join(_value(card["results"][part][quantity]) for quantity in QUANTITIES)
            minutes = card["training"]["time_limit_minutes"]
            lines.append(f"| {card['frames']['train']} | {minutes:g} | {len(card['runs'])} | {cells} |")
        lines.append("")
        lines += [f"{quantity}: {exponent(cards, part, quantity, own.error)}" for quantity in QUANTITIES]
        lines.append("")
    if not lines:
        return ""
    return "\n".join([GROWTH, *lines])


def exponent(cards: list[Mapping[str, Any]], part: str, quantity: str, error: str) -> str:
    """b with its interval, in words."""
    points = [(c["frames"]["train"], run["tests"][part][quantity][error]) for c in cards for run in c["runs"]]
    fit = fit_learning_curve([n for n, _ in points], [value for _, value in points])
    b = fit.exponent
    floor = f", floor c = {fit.parameters[2]:.3g}" if fit.parameters[2] else ""
    problem = f"; {fit.problem}" if fit.problem else ""
    return f"N^−{b.value:.2f} ({b.low:.2f} … {b.high:.2f}){floor}{problem}."
