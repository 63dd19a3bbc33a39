"""Linear experts: what a training step and an evaluation cost with them, and whether they pay on small mixed data.

    python benchmarks/experts.py cost LABELLED.extxyz [--size S] [--batch-size 32] [--rounds 3]
    python benchmarks/experts.py worth --data DATA --output FOLDER [--sets metals mptrj] [--seeds 2] [--epochs 10]

cost: ways take turns, figures are medians. worth: the same steps, learning rate and frames for every number of experts,
nothing tuned; `metals` are five elements, one in each structure (mlearn, its training frames alone), `mptrj` has
eighty-five in all mixtures. Half of the held-out frames choose the epoch, the other half judge. RMSE of energies and
forces; and how far the trained model is from additive: the law `size_consistency`.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from training_loop import epoch_seconds, steps_of

from groundstate.atoms import System
from groundstate.data import Record, fit_reference_energies, read
from groundstate.laws import examine
from groundstate.potentials import evaluate
from groundstate.potentials.mace import MACEConfig, merged_at
from groundstate.training import FitLabels, TrainConfig, blocked, evaluate_errors, train_from_scratch
from groundstate.training.loop import Loop
from groundstate.training.parallel import start_fabric
from groundstate.training.run_folder import RunFolder
from groundstate.training.scratch import build_for

METALS = ("Cu", "Li", "Mo", "Ni", "Si")
MPTRJ = "mptrj_sample/mptrj-random-1k.xyz"
WANT = ("energy", "forces", "stress")


def main() -> None:
    """One of the two measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    cost = ways.add_parser("cost")
    cost.add_argument("frames", type=Path)
    cost.add_argument("--size", default="S")
    cost.add_argument("--batch-size", type=int, default=32)
    cost.add_argument("--rounds", type=int, default=3)
    cost.add_argument("--most", type=int, default=320, help="frames to train on")
    cost.set_defaults(measure=costs)
    worth = ways.add_parser("worth")
    worth.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    worth.add_argument("--output", type=Path, required=True, help="folder of the runs; the same call continues")
    worth.add_argument("--sets", nargs="+", default=["metals", "mptrj"], choices=["metals", "mptrj"])
    worth.add_argument("--size", default="XS")
    worth.add_argument("--seeds", type=int, default=2)
    worth.add_argument("--epochs", type=int, default=10)
    worth.set_defaults(measure=worths)
    for way in (cost, worth):
        way.add_argument("--experts", nargs="+", type=int, default=[0, 4, 8])
        way.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.measure(options)


def costs(options: argparse.Namespace) -> None:
    """Seconds of a training step; milliseconds of energy, forces and stress."""
    records = [r for r in read(options.frames).records if set(WANT) <= r.labels.keys()][: options.most]
    references = fit_reference_energies(records).energies
    config = steps_of(options.batch_size)
    aim, loops = FitLabels(config.weights), {}
    shapes = {k: MACEConfig.of_size(options.size, experts=k) for k in options.experts}
    models = {k: build_for(records, shape, references, 0) for k, shape in shapes.items()}
    with tempfile.TemporaryDirectory() as folder:
        for k, model in models.items():
            loops[k] = Loop(start_fabric(config), model, aim, config, RunFolder(folder), records, records[:1])
            loops[k].state.counters.sums = {part: [0.0] * 4 for part in aim.weights}
        steps: dict[int, list[float]] = {k: [] for k in loops}
        for turn in range(options.rounds + 1):
            for k, loop in loops.items():
                found = epoch_seconds(loop)
                steps[k] += found if turn > 0 else []  # the first round compiles, warms up and fills the cache
    plain = statistics.median(steps[options.experts[0]])
    print(f"a step of size {options.size}, {options.batch_size} crystals, {len(records)} frames")
    for k, times in steps.items():
        step = statistics.median(times)
        print(f"  experts {k}: {step:.4f} s, {step / plain:.2f} of {options.experts[0]}")
    one = max((r.system for r in records), key=lambda system: system.n_atoms)
    several = System.batch([r.system for r in records[:: len(records) // 16]][:16])
    ways: dict[str, Callable[[], Any]] = {}
    for name, system in {f"one crystal, {one.n_atoms} atoms": one, "sixteen unlike crystals": several}.items():
        for k, model in models.items():
            ways[f"{name}, experts {k}"] = lambda m=model, s=system: evaluate(m, s, WANT)  # type: ignore[misc]
    for k, model in models.items():
        if k:
            merged = merged_at(model, one)
            ways[f"one crystal, {one.n_atoms} atoms, merged of {k}"] = lambda m=merged: evaluate(m, one, WANT)  # type: ignore[misc]
    for name, milliseconds in in_turns(ways).items():
        print(f"  {name}: {milliseconds:.2f} ms")


def in_turns(ways: Mapping[str, Callable[[], Any]], rounds: int = 15) -> dict[str, float]:
    """Median milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 2):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if turn > 1:
                times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(found) for name, found in times.items()}


def worths(options: argparse.Namespace) -> None:
    """A line for each set, number of experts and seed, and `experts.json`."""
    rows = []
    for name in options.sets:
        taught, choosing, judging = split(name, options.data)
        print(f"{name}: {len(taught)} frames taught, {len(judging)} judge; RMSE of energy (meV/atom), forces (meV/Å)")
        for seed in range(options.seeds):
            for k in options.experts:
                row = {"set": name, "experts": k, "seed": seed, **worth_of(name, k, seed, taught, choosing, options)}
                table = evaluate_errors(row["potential"], judging)
                row["energy"], row["forces"] = 1e3 * table["energy"].rmse, 1e3 * table["forces"].rmse
                (law,) = examine(row.pop("potential"), laws=("size_consistency",))
                row["size_consistency"], row["additive"] = law.detail, law.passed
                rows.append(row)
                kept = "additive" if law.passed else f"not additive: {law.detail.split(';')[0]}"
                errors = f"{row['energy']:8.2f} {row['forces']:8.1f} {row['seconds']:6.0f} s"
                print(f"  experts {k} seed {seed}: {errors}  {kept}", flush=True)
    (options.output / "experts.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def split(name: str, data: Path) -> tuple[list[Record], list[Record], list[Record]]:
    """Frames to teach, to choose the epoch by and to judge by."""
    if name == "mptrj":
        pool, held = blocked(read(data / MPTRJ).records, 0.2, 12)
        return list(pool), list(held[::2]), list(held[1::2])
    taught, held = list[Record](), list[Record]()
    for metal in METALS:
        records = read(data / f"mlearn/{metal}_train.xyz").records
        pool, apart = blocked(records, 0.25, 12)
        taught += pool[:: max(1, len(pool) // 40)][:40]
        held += apart[:: max(1, len(apart) // 20)][:20]
    return taught, held[::2], held[1::2]


def worth_of(
    name: str, k: int, seed: int, taught: Sequence[Record], choosing: Sequence[Record], options: argparse.Namespace
) -> dict[str, Any]:
    """The trained model, its number of parameters, and seconds of training."""
    config = TrainConfig(
        epochs=options.epochs, batch_size=8, learning_rate=0.01, loss="huber", seed=seed, accelerator="cpu"
    )
    shape = MACEConfig.of_size(options.size, experts=k)
    result = train_from_scratch(taught, choosing, shape, config, options.output / f"{name}-{k}-{seed}")
    parameters = sum(p.numel() for p in result.potential.parameters())
    return {"potential": result.potential, "parameters": parameters, "seconds": result.seconds}


if __name__ == "__main__":
    main()
