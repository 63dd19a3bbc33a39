"""Labels of a model that groundstate knows, for the shards of `structures.py`; and structures a few steps further down.

    python recipes/groundstate_0/label.py --model chgnet --structures gentle-1 --output labels-gentle-1
    python recipes/groundstate_0/label.py --model groundstate-0-S --descend 10 --structures gentle --output gentle-1

The first writes a shard of labels for each shard of structures: energy (eV, what the model says), forces (eV/Å), stress
(eV/Å³, xx yy zz xy yz zx, positive in tension), magnetic moments (μB, where the model has them) and `teacher`, the
model's fingerprint. The second writes structures: a third stays where it is, the others go down by one to that many
steps along the forces of a cheap model. A relaxation by a student visits what the student takes for stable, which is
where its teacher has most to say. Either continues after a kill; `--part 0/2` leaves every second shard to another
process.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from descend import stepped

import groundstate as gs
from groundstate.atoms import System
from groundstate.potentials import Potential, evaluate

ATOMS = {"teacher": 300, "student": 2000}
"""Evaluated together: compressed elements have hundreds of neighbours, and CHGNet counts pairs of bonds."""
Shard = dict[str, np.ndarray]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--descend", type=int, default=0, help="go down by up to so many steps in place of labelling")
    parser.add_argument("--part", default="0/1", help="i/n: the shards whose number leaves i when divided by n")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no shard after this time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    potential, begin = gs.load(options.model).potential, time.monotonic()
    part, parts = map(int, options.part.split("/"))
    for index, file in enumerate(sorted(options.structures.glob("structures-*.npz"))):
        to = options.output / (file.name if options.descend else file.name.replace("structures", "labels"))
        if to.exists() or index % parts != part or time.monotonic() - begin > 60 * options.minutes:
            continue
        started = time.monotonic()
        with np.load(file) as stored:
            shard = dict(stored)
        if options.descend:
            found = descended(np.random.default_rng((options.seed, index)), potential, shard, options.descend)
        else:
            found = {**labels(potential, shard), "teacher": np.array(potential.fingerprint())}
        partial = to.with_suffix(".part")
        with partial.open("wb") as stream:
            np.savez(stream, **found)
        partial.replace(to)
        spent, atoms = time.monotonic() - started, len(shard["numbers"])
        print(f"{to.name}: {atoms} atoms in {spent:.0f} s, {1e6 * spent / atoms:.0f} µs/atom", flush=True)


def labels(potential: Potential, shard: Shard, together: int = ATOMS["teacher"]) -> Shard:
    """What the potential says of every structure of a shard, of about so many atoms at a time."""
    known = sorted({"magnetic_moments"} & potential.provides)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("energy", "forces", "stress", *known)}
    for first, end in _groups(shard["ptr"], together):
        said = evaluate(potential, _systems(shard, first, end), tuple(rows))
        for name, values in rows.items():
            values.append(said[name].detach().numpy())
    found = {name: np.concatenate(values) for name, values in rows.items()}
    xx_yy_zz_xy_yz_zx = ([0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0])
    found["stress"] = found["stress"][:, *xx_yy_zz_xy_yz_zx]
    return {name: value if name == "energy" else value.astype(np.float32) for name, value in found.items()}


def descended(random: np.random.Generator, potential: Potential, shard: Shard, most: int) -> Shard:
    """Every structure after its number of steps; those on which the model fails are dropped."""
    left = np.maximum(0, random.integers(-(most // 2), most + 1, len(shard["ptr"]) - 1))
    done: list[Shard] = []
    while len(left):
        done.append(_chosen(shard, left == 0))
        shard, left = _chosen(shard, left > 0), left[left > 0] - 1
        if len(left):
            shard["left"] = left
            shard = stepped(random, shard, labels(potential, shard, ATOMS["student"]))
            left = shard.pop("left")
    return _joined([part for part in done if len(part["ptr"]) > 1])


def _groups(ptr: np.ndarray, together: int) -> Iterator[tuple[int, int]]:
    """Consecutive structures of at most so many atoms, or one."""
    first = 0
    for index in range(1, len(ptr)):
        if index - 1 > first and ptr[index] - ptr[first] > together:
            yield first, index - 1
            first = index - 1
    yield first, len(ptr) - 1


def _systems(shard: Shard, first: int, end: int) -> System:
    ptr = shard["ptr"]
    return System.batch(
        [
            System.single(
                shard["positions"][ptr[i] : ptr[i + 1]].astype(float),
                shard["numbers"][ptr[i] : ptr[i + 1]].astype(np.int64),
                cell=shard["cells"][i].astype(float),
                pbc=(True, True, True),
            )
            for i in range(first, end)
        ]
    )


_OF_ATOMS = ("numbers", "positions")


def _chosen(shard: Shard, rows: np.ndarray) -> Shard:
    counts = np.diff(shard["ptr"])
    atoms = np.repeat(rows, counts)
    found = {n: v[atoms if n in _OF_ATOMS else rows] for n, v in shard.items() if n != "ptr"}
    return {**found, "ptr": np.cumsum([0, *counts[rows]])}


def _joined(parts: list[Shard]) -> Shard:
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "ptr"}
    return {**found, "ptr": np.cumsum([0, *np.concatenate([np.diff(part["ptr"]) for part in parts])])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
