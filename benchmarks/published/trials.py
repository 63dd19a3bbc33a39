"""What options of a recipe are worth: train a published set, each way for the same minutes.

    python benchmarks/published/trials.py acac --data DATA --output trials --minutes 6 \\
        --ways "" "model.channels=128" "train.optimiser='adam' train.learning_rate=0.01"

A way is what it changes in the recipe of the set, values as in TOML; the empty one changes nothing. Errors, in the
measure of the set, are those on the frames that choose the epoch, and on those that were taught: what lies between is
what did not generalise. `--shortest N` sets aside the N frames to learn from in which atoms come nearest to each other,
and tells errors on these too: what a model does just beyond its data. `--beyond FILE` tells errors of forces on
labelled frames of another origin, whose energies may count from another zero. Frames that judge the published tables
are not used. One thread; the same command continues.
"""

import argparse
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from run import HERE, RECIPES, learn
from sets import divide, load_sets

from groundstate.data import Record, read
from groundstate.potentials import Potential
from groundstate.training import Recipe, evaluate_errors, load_recipe
from groundstate.training.nearest import nearest_distances


def main() -> None:
    """A line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="a name in sets.toml")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--shortest", type=int, default=0, help="frames with the shortest bonds to set aside")
    parser.add_argument("--beyond", type=Path, help="labelled frames of another origin to tell errors of forces on")
    parser.add_argument("--ways", nargs="+", default=[""], help="changes of the recipe, each a string")
    parser.add_argument("--sets-file", type=Path, default=HERE / "sets.toml")
    parser.add_argument("--recipes", type=Path, default=RECIPES)
    options = parser.parse_args()
    known = load_sets(options.sets_file)
    if options.set not in known:
        parser.error(f"name a set among {', '.join(known)}")
    torch.set_num_threads(1)
    chosen = known[options.set]
    division = divide(chosen, options.data, None)
    taught, aside = without_shortest(division.train, options.shortest)
    judged = {"taught": taught, "choosing": division.valid} | ({"shortest": aside} if aside else {})
    if options.beyond:
        judged["beyond"] = [Record(r.system, {"forces": r.labels["forces"]}) for r in read(options.beyond).records]
    recipe = load_recipe(options.recipes / f"{chosen.recipe}.toml")
    for way in options.ways:
        model, train = changed(recipe, way)
        train = replace(train, time_limit_minutes=options.minutes)
        name = f"{options.set} {options.minutes:g} {f'without {len(aside)} ' if aside else ''}{way}"
        folder = options.output / name.strip().replace("/", "_")
        run, _ = learn(chosen, taught, division.valid, model, train, folder, options.output)
        said = ", ".join(f"{part} {errors(run.potential, some, chosen.error)}" for part, some in judged.items())
        epochs = run.history[-1]["epoch"]
        print(f"{epochs:6.1f} epochs, {chosen.error.upper()} {said}: {way or 'the recipe'}", flush=True)


def without_shortest(records: list[Record], count: int) -> tuple[list[Record], list[Record]]:
    """All but so many frames, and those: of each two elements in turn the frame in which they come nearest."""
    tables = torch.stack([nearest_distances([record]) for record in records])
    first, second = torch.triu_indices(*tables.shape[1:])
    orders = [pair.argsort() for pair in tables[:, first, second].T if pair.isfinite().any()]
    aside: dict[int, None] = {}
    for rank in range(len(records)):
        for order in orders:
            if len(aside) < count:
                aside[int(order[rank])] = None
    return [r for i, r in enumerate(records) if i not in aside], [records[i] for i in aside]


def changed(recipe: Recipe, way: str) -> tuple[Any, Any]:
    """Model and training of a recipe under the changes of a way."""
    told = tomllib.loads("\n".join(way.split()))
    parts = (recipe.model, told.pop("model", {})), (recipe.train, told.pop("train", {}))
    if told:
        raise ValueError(f"'{', '.join(told)}' is no part of a recipe: a way changes model.… and train.…")
    # One weight of several is named alone: the others stay.
    merged = (
        {key: {**getattr(part, key), **value} if isinstance(value, dict) else value for key, value in changes.items()}
        for part, changes in parts
    )
    model, train = (replace(part, **changes) for (part, _), changes in zip(parts, merged, strict=True))
    return model, train


def errors(potential: Potential, records: list[Record], measure: str) -> str:
    """Of energies and forces, where there are labels: "rmse" or "mae", as the set is published."""
    table = evaluate_errors(potential, records)
    units = {"energy": "meV/atom", "forces": "meV/Å"}
    return " ".join(
        f"{1e3 * getattr(table[name], measure):.4g} {unit}" for name, unit in units.items() if name in table.rows
    )


if __name__ == "__main__":
    main()
