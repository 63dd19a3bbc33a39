"""Every law on untrained MACE shapes and on CHGNet, as a markdown table: docs/laws_table.md.

    python benchmarks/laws_table.py [--output docs/laws_table.md] [--only NAME …] [--without-trajectories]

Untrained networks show what holds by construction; what only training can bring (repulsion) may fail there. CHGNet
takes some minutes on one core, nearly all of it in the trajectories.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from groundstate.laws import LAWS, LawResult, examine
from groundstate.potentials import Potential
from groundstate.potentials.mace import MACEConfig, build
from groundstate.zoo import load

ELEMENTS = (1, 6, 8, 14, 26, 29)
SEED = 0


def _mace(size: str, dtype: str) -> Potential:
    config = MACEConfig.of_size(size, dtype=dtype)
    return build(config, elements=ELEMENTS, reference_energies=[dict.fromkeys(ELEMENTS, -5.0)], seed=SEED)


MODELS: dict[str, Callable[[], Potential]] = {
    "MACE XS float64": lambda: _mace("XS", "float64"),
    "MACE XS float32": lambda: _mace("XS", "float32"),
    "MACE S float64": lambda: _mace("S", "float64"),
    "MACE S float32": lambda: _mace("S", "float32"),
    "CHGNet 0.3.0 float64": lambda: load("chgnet", precision="float64"),
    "CHGNet 0.3.0 float32": lambda: load("chgnet", precision="float32"),
}


def _cell(result: LawResult) -> str:
    if result.passed is None:
        return "does not apply"
    word = "pass" if result.passed else "**fail**"
    if result.law == "repulsion":
        return f"{word} {result.measured:.0f} of {result.detail.split()[0]}"
    if result.measured != result.measured:
        return f"{word} (raised)"
    return f"{word} {result.measured:.0e} ≤ {result.tolerance:.1e}" if result.passed else (
        f"{word} {result.measured:.1e} > {result.tolerance:.1e}"
    )  # fmt: skip


def _markdown(columns: dict[str, dict[str, LawResult]], identities: dict[str, str], laws: list[str]) -> str:
    lines = [
        "# The laws, tried",
        "",
        "Written by `benchmarks/laws_table.py`; the same command gives the same verdicts. MACE is untrained (random"
        f" weights of seed {SEED}), with the screened nuclear repulsion; CHGNet is as published. A cell holds the worst"
        " deviation and the tolerance in the unit of the law; repulsion counts element pairs with a hole. What each law"
        " says and where its tolerance comes from stands in `groundstate.laws`.",
        "",
        "| law | unit | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for law in laws:
        results = [column[law] for column in columns.values()]
        units = dict.fromkeys(result.unit for result in results if result.unit)
        lines.append(f"| {law} | {', '.join(units)} | " + " | ".join(_cell(result) for result in results) + " |")
    lines += ["", "Identities: " + "; ".join(f"{name} `{identity}`" for name, identity in identities.items()) + "."]
    for title, passed in (("Failures", False), ("Laws that did not apply", None)):
        found = [(name, r) for name, column in columns.items() for r in column.values() if r.passed is passed]
        if found:
            lines += ["", f"## {title}", "", *(f"- {name}, {r.law}: {r.detail}" for name, r in found)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Examine and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/laws_table.md"))
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--without-trajectories", action="store_true")
    options = parser.parse_args()
    laws = [law for law in LAWS if not (options.without_trajectories and law.startswith("nve"))]
    columns: dict[str, dict[str, LawResult]] = {}
    identities: dict[str, str] = {}
    for name in options.only:
        potential, start = MODELS[name](), time.monotonic()
        columns[name] = {result.law: result for result in examine(potential, laws=laws, seed=SEED)}
        identities[name] = potential.fingerprint()
        failed = [law for law, result in columns[name].items() if result.passed is False]
        print(f"{name}: {time.monotonic() - start:.0f} s, fails {', '.join(failed) or 'nothing'}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(_markdown(columns, identities, laws), encoding="utf-8")


if __name__ == "__main__":
    main()
