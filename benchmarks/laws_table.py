"""Every law on untrained MACE shapes and on every public model that is installed here: docs/laws_table.md.

    python benchmarks/laws_table.py [--only NAME …] [--without-trajectories] [--table]

Each model that was examined leaves a record (results, identity, versions, date) beside the cards, where
`groundstate models NAME` shows it, or in benchmarks/laws for a network that is not a public model. The table is made of
all records that are there; `--table` makes it without examining anything. Untrained networks show what holds by
construction; what only training can bring (repulsion) may fail there. One core needs some minutes for each model,
nearly all of it in the trajectories.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from groundstate import zoo
from groundstate.laws import LAWS, LawResult, examine
from groundstate.potentials import Potential
from groundstate.potentials.mace import MACEConfig, build
from groundstate.zoo.measured import MEASURED, as_record, results_of

ELEMENTS = (1, 6, 8, 14, 26, 29)
SEED = 0
HERE = Path(__file__).parent / "laws"


def _mace(size: str, dtype: str, experts: int = 0) -> Potential:
    config = MACEConfig.of_size(size, dtype=dtype, experts=experts)
    return build(config, elements=ELEMENTS, reference_energies=[dict.fromkeys(ELEMENTS, -5.0)], seed=SEED)


UNTRAINED: dict[str, Callable[[], Potential]] = {
    f"MACE {size} {dtype}": partial(_mace, size, dtype) for size in ("XS", "S") for dtype in ("float64", "float32")
}
UNTRAINED["MACE XS-4-experts float64"] = partial(_mace, "XS", "float64", 4)


def public() -> dict[str, Callable[[], Potential]]:
    """Every public model that can be loaded here, in each of its precisions."""
    return {
        f"{card.key} {precision}": partial(zoo.load, card.key, precision=precision)
        for card in zoo.cards().values()
        if zoo.state(card).ready
        for precision in reversed(card.precisions)
    }


def place(name: str) -> Path:
    """Where the record of a model is kept."""
    return (HERE if name in UNTRAINED else MEASURED) / f"{name.replace(' ', '-')}.json"


def _cell(result: LawResult | None) -> str:
    if result is None:
        return "not tried"
    if result.passed is None:
        return "does not apply"
    word = "pass" if result.passed else "**fail**"
    if result.law == "repulsion" and result.measured == result.measured:
        return f"{word} {result.measured:.0f} of {result.detail.split()[0]}"
    if result.measured != result.measured:
        return f"{word} (raised)"
    return f"{word} {result.measured:.0e} ≤ {result.tolerance:.1e}" if result.passed else (
        f"{word} {result.measured:.1e} > {result.tolerance:.1e}"
    )  # fmt: skip


def markdown(records: dict[str, dict[str, Any]]) -> str:
    """The table, and what failed or did not apply in words."""
    columns = {name: {r.law: r for r in results_of(record)} for name, record in records.items()}
    lines = [
        "# The laws, tried",
        "",
        "Written by `benchmarks/laws_table.py`; the same command gives the same verdicts. MACE is untrained (random"
        f" weights of seed {SEED}), with the screened nuclear repulsion; public models are as published. A cell holds"
        " the worst deviation and the tolerance in the unit of the law; repulsion counts element pairs with a hole."
        " What each law says and where its tolerance comes from stands in `groundstate.laws`. A model in another"
        " process is held to float32 or float64 by the noise of its forces; trajectories are tried where they take"
        " minutes, not hours. Linear experts are mixed by the composition of the whole structure, so unlike fragments"
        " of one structure cannot add up: size_consistency fails with them by construction.",
        "",
        "| law | unit | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for law in LAWS:
        results = [column.get(law) for column in columns.values()]
        said = [unit for result in results if result is not None for unit in result.unit.split(", ") if unit]
        units = dict.fromkeys(said)
        lines.append(f"| {law} | {', '.join(units)} | " + " | ".join(_cell(result) for result in results) + " |")
    lines += ["", "| model | identity | examined with |", "|---|---|---|"]
    for name, record in records.items():
        versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
        lines.append(f"| {name} | `{record['identity']}` | {versions} |")
    for title, passed in (("Failures", False), ("Laws that did not apply", None)):
        found = [(name, r) for name, column in columns.items() for r in column.values() if r.passed is passed]
        if found:
            lines += ["", f"## {title}", "", *(f"- {name}, {r.law}: {r.detail}" for name, r in found)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Examine and write."""
    models = {**UNTRAINED, **public()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/laws_table.md"))
    parser.add_argument("--only", nargs="+", choices=list(models), default=list(models))
    parser.add_argument("--without-trajectories", action="store_true")
    parser.add_argument("--table", action="store_true", help="make the table of the records that are there")
    options = parser.parse_args()
    laws = [law for law in LAWS if not (options.without_trajectories and law.startswith("nve"))]
    for name in [] if options.table else options.only:
        potential, start = models[name](), time.monotonic()
        results = examine(potential, laws=laws, seed=SEED)
        record = as_record(potential, results, seed=SEED)
        place(name).parent.mkdir(parents=True, exist_ok=True)
        place(name).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        failed = [result.law for result in results if result.passed is False]
        print(f"{name}: {time.monotonic() - start:.0f} s, fails {', '.join(failed) or 'nothing'}", flush=True)
    kept = {path.stem: path for folder in (HERE, MEASURED) for path in sorted(folder.glob("*.json"))}
    records = {stem: json.loads(path.read_text(encoding="utf-8")) for stem, path in kept.items()}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(markdown(records), encoding="utf-8")


if __name__ == "__main__":
    main()
