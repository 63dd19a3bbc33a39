"""Steps of the training loop, with neighbours found between steps, ahead of them, and once.

    python benchmarks/training_loop.py LABELLED.extxyz [--size S] [--batch-size 64] [--threads 1] [--rounds 3]

The ways take turns, so that what else the machine does meets all of them; each figure is the median over their steps.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from groundstate.data import fit_reference_energies, read
from groundstate.potentials.mace import MACEConfig
from groundstate.training import FitLabels, TrainConfig
from groundstate.training.loop import Loop
from groundstate.training.parallel import start_fabric
from groundstate.training.run_folder import RunFolder
from groundstate.training.scratch import build_for

WAYS = {
    "neighbours between steps": {"workers": 0, "neighbour_cache_MB": 0},
    "neighbours in one thread beside": {"workers": 1, "neighbour_cache_MB": 0},
    "neighbours kept from an earlier epoch": {"workers": 1, "neighbour_cache_MB": 1000},
}


def main() -> None:
    """Print seconds per step and structures per second of each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", default="S")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    records = [r for r in read(options.data).records if {"energy", "forces", "stress"} <= r.labels.keys()]
    references = fit_reference_energies(records).energies
    config = steps_of(options.batch_size)
    loops = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, way in WAYS.items():
            potential = build_for(records, MACEConfig.of_size(options.size), references, 0)
            chosen = replace(config, **way)
            aim = FitLabels(chosen.weights)
            held_out = records[:1]
            loops[name] = Loop(start_fabric(chosen), potential, aim, chosen, RunFolder(folder), records, held_out)
            loops[name].state.counters.sums = {part: [0.0] * 4 for part in aim.weights}
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(options.rounds + 1):
            for name, loop in loops.items():
                seconds[name] += epoch_seconds(loop)
    first = len(records) // options.batch_size + 1
    for name, times in seconds.items():
        step = statistics.median(times[first:])  # the first round compiles, warms up and fills the cache
        print(f"{name:<40} {step:.4f} s a step, {options.batch_size / step:.1f} structures/s")


def steps_of(batch_size: int) -> TrainConfig:
    """Options of steps that are timed: all labels, and weights that hardly move."""
    weights = {"energy": 100.0, "forces": 10.0, "stress": 1000.0}
    return TrainConfig(batch_size=batch_size, weights=weights, learning_rate=1e-4, accelerator="cpu")


def epoch_seconds(loop: Loop) -> list[float]:
    """Seconds of each step of one epoch but its shorter last one."""
    times = []
    steps = list(loop.train.steps(loop.train.epoch(0)))[:-1]
    with closing(loop.train.ready(steps)) as ready:
        begin = time.perf_counter()
        for step, pieces in ready:
            loop._step(step, pieces)
            now = time.perf_counter()
            times.append(now - begin)
            begin = now
    return times


if __name__ == "__main__":
    main()
