"""What is kept of a run, and how runs of several seeds become one number."""

import json
import math
import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from sets import Division, Part, PublishedSet

from groundstate.equivariant.native.target import cpu_name
from groundstate.potentials import Committee, Potential
from groundstate.training import ErrorTable, TrainResult, evaluate_errors

QUANTITIES = ("energy", "forces")
_POINTS = 16
"""Of the validation curve that a card keeps, evenly spaced in time."""


def run_record(chosen: PublishedSet, division: Division, result: TrainResult, seed: int) -> dict[str, Any]:
    """One finished run: errors on the validation frames, on every test part, and on its frames without near copies."""
    potential = result.potential
    tests = {}
    for name, records in division.tests.items():
        copied = set(division.copies[name])
        tests[name] = errors_of(chosen, evaluate_errors(potential, records), records)
        others = [record for i, record in enumerate(records) if i not in copied]
        if copied and others:
            tests[name]["without copies"] = errors_of(chosen, evaluate_errors(potential, others), others)
    return {
        "seed": seed,
        "minutes": round(result.seconds / 60, 2),
        "stopped": result.stopped,
        "epochs": round(result.history[-1]["epoch"], 1),
        "steps": result.history[-1]["step"],
        "fingerprint": potential.fingerprint(),
        "processor": cpu_name(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("groundstate", "torch")},
        "valid": errors_of(chosen, result.after, division.valid),
        "tests": tests,
        "curve": curve(result.history),
    }


def errors_of(chosen: PublishedSet, table: ErrorTable, records: Sequence[Any]) -> dict[str, Any]:
    """RMSE and MAE in meV/Å, and meV per atom or, where whole structures are compared, per structure."""
    factor = {"energy": 1e3, "forces": 1e3}
    if chosen.energy == "structure":
        sizes = {record.n_atoms for record in records}
        if len(sizes) != 1:
            raise ValueError(f"{chosen.title}: errors per structure of frames of {sorted(sizes)} atoms")
        factor["energy"] *= sizes.pop()
    return {
        "frames": table.frames,
        **{
            quantity: {kind: _rounded(factor[quantity] * getattr(table[quantity], kind)) for kind in ("rmse", "mae")}
            for quantity in QUANTITIES
        },
    }


def curve(history: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Validation and training MAE (meV/atom, meV/Å) against minutes, of the averaged weights and as trained."""
    last = history[-1]["seconds"]
    at = sorted({_first_after(history, last * (k + 1) / _POINTS) for k in range(_POINTS)})
    columns = {
        f"{kind} {quantity}": f"{kind}_{key}"
        for kind in ("valid", "train")
        for quantity, key in (("energy", "energy_per_atom_mae"), ("forces", "forces_mae"))
    }
    return {
        "minutes": [round(history[i]["seconds"] / 60, 2) for i in at],
        **{name: [_rounded(1e3 * history[i][key]) for i in at] for name, key in columns.items()},
    }


def add_run(file: Path, identity: Mapping[str, Any], run: Mapping[str, Any], chosen: PublishedSet) -> dict[str, Any]:
    """Put a run on its card. Runs of other data, model or options than `identity` are dropped, which is printed."""
    kept: list[Any] = []
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"runs": []}
    if all(found.get(key) == value for key, value in identity.items()):
        kept = [own for own in found["runs"] if own["seed"] != run["seed"]]
    elif found["runs"]:
        print(f"{file}: {len(found['runs'])} runs of other data, model or options are dropped")
    runs = sorted([*kept, run], key=lambda own: own["seed"])
    card = {**identity, "results": {name: results(chosen, name, runs) for name in chosen.tests}, "runs": runs}
    write(file, card)
    return card


def add_committee(
    file: Path, card: Mapping[str, Any], chosen: PublishedSet, division: Division, members: Mapping[int, Potential]
) -> dict[str, Any]:
    """Put on a card what the models of several seeds make of the test parts together; the next run takes it off."""
    mean = Committee([members[seed] for seed in sorted(members)])
    tests = {
        name: errors_of(chosen, evaluate_errors(mean, records), records) for name, records in division.tests.items()
    }
    made = {**card, "together": {"seeds": sorted(members), "tests": tests}}
    write(file, made)
    return made


def results(chosen: PublishedSet, part: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The published kind of error of one test part: mean over seeds, spread, and whether floor and aim are reached."""
    return {quantity: _result(chosen, chosen.tests[part], part, quantity, runs) for quantity in QUANTITIES}


def _result(
    chosen: PublishedSet, part: Part, name: str, quantity: str, runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    values = [run["tests"][name][quantity][chosen.error] for run in runs]
    value = statistics.mean(values)
    per = "/Å" if quantity == "forces" else "/atom" if chosen.energy == "atom" else ""
    found: dict[str, Any] = {
        "error": chosen.error,
        "unit": "meV" + per,
        "value": _rounded(value),
        "spread": _rounded(statistics.stdev(values)) if len(values) > 1 else None,
        "seeds": len(values),
    }
    for goal, numbers in (("floor", part.floor), ("aim", part.aim)):
        if quantity in numbers:
            found[goal] = numbers[quantity]
            found[f"{goal} reached"] = value <= numbers[quantity]
    return found


def write(file: Path, card: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as draft:
        draft.write(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    Path(draft.name).chmod(0o644)
    os.replace(draft.name, file)


def commit() -> str:
    """Of this checkout; with "+" where the package, the recipes or this benchmark differ from it."""
    here = Path(__file__).parent
    command = ["git", "status", "--porcelain", "--untracked-files=no", "--", "../../src", "../../recipes/*.toml", "."]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True).stdout
        changed = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if changed.strip() else "")


def _first_after(history: Sequence[Mapping[str, Any]], seconds: float) -> int:
    return next(i for i, line in enumerate(history) if line["seconds"] >= seconds - 1e-9)


def _rounded(value: float) -> float:
    """To four digits."""
    return float(f"{value:.4g}") if math.isfinite(value) else value
