"""Errors on published sets: divide, train by a recipe, judge on the published test parts, keep a card.

    python benchmarks/published/run.py mlearn-Mo --data DATA --output runs [--seed 0] [--frames 50]
    python benchmarks/published/run.py --table [--write docs/published.md]

A set is an entry of sets.toml; `all` is every set in turn. The card of a set lies in recipes/cards and holds every seed
it was run with, and what the mean of their models is worth. The same command continues a run that was stopped. One
thread. Minutes are those of the recipe, and a slower or busier core gets less far in them; `--epochs` fixes the passes
instead, as many as the card tells.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from cards import add_committee, add_run, commit, run_record
from page import page
from sets import SEED_OF_SPLIT, PublishedSet, divide, hashes, load_sets

from groundstate.data import Record
from groundstate.potentials import Potential, checkpoint
from groundstate.potentials.mace import MACEConfig
from groundstate.training import Recipe, TrainConfig, TrainResult, finetune, load_recipe, train_from_scratch

HERE = Path(__file__).parent
RECIPES = HERE.parents[1] / "recipes"


def main() -> None:
    """Run sets, or make the page of the cards that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="names in sets.toml, or all")
    parser.add_argument("--data", type=Path, help="folder of the public data sets")
    parser.add_argument("--output", type=Path, help="folder of the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, help="frames to learn from, where sets.toml has minutes for so many")
    parser.add_argument("--epochs", type=int, help="a fixed number of passes in place of a time limit")
    parser.add_argument("--sets-file", type=Path, default=HERE / "sets.toml")
    parser.add_argument("--recipes", type=Path, default=RECIPES)
    parser.add_argument("--cards", type=Path, default=RECIPES / "cards")
    parser.add_argument("--table", action="store_true", help="print the page of the cards that are there")
    parser.add_argument("--write", type=Path, help="with --table: into this file")
    options = parser.parse_args()
    known = load_sets(options.sets_file)
    if options.table:
        text = page(known, options.cards)
        print(text, end="") if options.write is None else options.write.write_text(text, encoding="utf-8")
        return
    names = list(known) if options.sets == ["all"] else options.sets
    if not names or set(names) - set(known) or options.data is None or options.output is None:
        parser.error(f"name sets among {', '.join(known)}, and give --data and --output")
    torch.set_num_threads(1)
    for name in names:
        run(name, known[name], options)


def run(name: str, chosen: PublishedSet, options: argparse.Namespace) -> dict[str, Any]:
    """One set with one seed; gives its card."""
    made_with = commit()  # before hours in which files may change
    division = divide(chosen, options.data, options.frames)
    recipe = timed(load_recipe(options.recipes / f"{chosen.recipe}.toml"), chosen, options)
    card = name if options.frames is None else f"{name}-{options.frames}"
    config = replace(recipe.train, seed=options.seed)
    folder = options.output / f"{card}-seed{options.seed}"
    print(f"{card}, seed {options.seed}: {len(division.train)} + {len(division.valid)} frames", flush=True)
    began, worked = time.monotonic(), time.process_time()
    parts = division.train, division.valid
    result, origin = learn(chosen, *parts, recipe.model, config, folder, options.output, progress=True)
    whole = time.monotonic() - began >= result.seconds  # else part of the run was made by an earlier call
    worked = round((time.process_time() - worked) / 60, 2)
    circumstances = {"commit": made_with, "processor_minutes": worked if whole else None}
    identity = {
        "set": name,
        "title": chosen.title,
        "recipe": f"{chosen.recipe}.toml",
        "frames": {
            "train": len(division.train),
            "valid": len(division.valid),
            **{f"test, {part}": len(records) for part, records in division.tests.items()},
        },
        "seed of the split": SEED_OF_SPLIT,
        "near copies in the training file": {part: len(copied) for part, copied in division.copies.items()},
        "sha256": hashes(chosen, options.data),
        **origin,
        "parameters": sum(p.numel() for p in result.potential.parameters()),
        "training": {key: value for key, value in config.as_dict().items() if key != "seed"},
    }
    record = {**run_record(chosen, division, result, options.seed), **circumstances}
    file = options.cards / f"{card}.json"
    made = add_run(file, identity, record, chosen)
    if len(members := saved(made["runs"], options.output, card)) > 1:
        made = add_committee(file, made, chosen, division, members)
    for part, found in made["results"].items():
        said = [f"{quantity} {one['value']} {one['unit']}" for quantity, one in found.items()]
        print(f"  {part}: {chosen.error.upper()} {', '.join(said)} over {len(made['runs'])} seeds", flush=True)
    return made


def learn(
    chosen: PublishedSet,
    train: list[Record],
    valid: list[Record],
    model: MACEConfig,
    config: TrainConfig,
    folder: Path,
    runs: Path,
    *,
    progress: bool = False,
) -> tuple[TrainResult, dict[str, Any]]:
    """From scratch, or further from the model in the folder of runs that the set starts from; and from what."""
    if not chosen.start:
        return train_from_scratch(train, valid, model, config, folder, progress=progress), {"model": model.as_dict()}
    start = checkpoint.load(runs / chosen.start)
    result = finetune(start, train, valid, config, folder, certify=False, progress=progress)
    return result, {"start": start.fingerprint(), "model": start.describe()["config"]}


def saved(runs: Sequence[Mapping[str, Any]], output: Path, card: str) -> dict[int, Potential]:
    """By seed, the models of a card's runs that are in the folder of runs."""
    files = {run["seed"]: output / f"{card}-seed{run['seed']}" / "model.safetensors" for run in runs}
    there = {seed: checkpoint.load(file) for seed, file in files.items() if file.exists()}
    known = {run["seed"]: run["fingerprint"] for run in runs}
    return {seed: model for seed, model in there.items() if model.fingerprint() == known[seed]}


def timed(recipe: Recipe, chosen: PublishedSet, options: argparse.Namespace) -> Recipe:
    """The recipe with the minutes of a subset, or a fixed number of epochs."""
    train = recipe.train
    if options.frames is not None:
        if options.frames not in chosen.subsets:
            raise ValueError(f"{chosen.title}: sets.toml has no minutes for {options.frames} frames")
        train = replace(train, time_limit_minutes=chosen.subsets[options.frames])
    if options.epochs is not None:
        train = replace(train, epochs=options.epochs, time_limit_minutes=None)
    return recipe._replace(train=train)


if __name__ == "__main__":
    main()
