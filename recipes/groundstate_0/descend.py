"""One step downhill for every labelled structure: the next frame of a relaxation, to be labelled in its turn.

    python recipes/groundstate_0/descend.py --structures structures --labels labels --output structures-1

Atoms move along their forces and the cell against its stress, by steps drawn at random, so that some structures
approach their minimum and stiff ones overshoot it. After two such rounds forces are spread as in relaxations by density
functional theory, which is where a universal model is asked most. Needs numpy alone.
"""

import argparse
from pathlib import Path

import numpy as np

STEP = (0.02, 0.06)
"""Å per eV/Å: about half of an inverse force constant."""
YIELD = (0.1, 0.7)
"""Strain per eV/Å³, drawn evenly in its logarithm: elastic constants of 200 down to 30 GPa."""
LONGEST, LARGEST_STRAIN = 0.2, 0.03
WILDEST = 30.0
"""eV/Å: structures with larger forces go nowhere worth knowing."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for index, file in enumerate(sorted(options.labels.glob("labels-*.npz"))):
        name = file.name.replace("labels", "structures")
        to = options.output / name
        if to.exists():
            continue
        with np.load(options.structures / name) as given, np.load(file) as known:
            found = stepped(np.random.default_rng((options.seed, index)), dict(given), dict(known))
        partial = to.with_suffix(".part")
        with partial.open("wb") as stream:
            np.savez(stream, **found)
        partial.replace(to)


def stepped(
    random: np.random.Generator, given: dict[str, np.ndarray], known: dict[str, np.ndarray]
) -> dict[str, object]:
    """A shard of structures after the step; those without a finite, sane label are dropped."""
    counts = np.diff(given["ptr"])
    of_atom = np.repeat(np.arange(len(counts)), counts)
    forces, stress = known["forces"].astype(float), known["stress"].astype(float)
    largest = np.zeros(len(counts))
    np.maximum.at(largest, of_atom, np.linalg.norm(forces, axis=1))
    sane = np.isfinite(largest) & np.isfinite(stress).all(axis=1) & (largest < WILDEST)
    step = random.uniform(*STEP, len(counts))
    moved = forces * step[of_atom, None]
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    moved *= np.minimum(1.0, LONGEST / np.maximum(length, 1e-12))
    give = np.exp(random.uniform(*np.log(YIELD), len(counts)))
    xx, yy, zz, xy, yz, zx = stress.T
    strain = -give[:, None, None] * np.stack([xx, xy, zx, xy, yy, yz, zx, yz, zz], axis=1).reshape(-1, 3, 3)
    size = np.abs(strain).max(axis=(1, 2))
    strain *= np.minimum(1.0, LARGEST_STRAIN / np.maximum(size, 1e-12))[:, None, None]
    deformation = np.eye(3) + strain
    positions = np.einsum("ai,aij->aj", given["positions"].astype(float) + moved, deformation[of_atom])
    cells = given["cells"].astype(float) @ deformation
    kept = sane[of_atom]
    whole = {name: value[sane] for name, value in given.items() if name not in ("numbers", "positions", "ptr", "cells")}
    return {
        **whole,
        "numbers": given["numbers"][kept],
        "positions": positions[kept].astype(np.float32),
        "ptr": np.cumsum([0, *counts[sane]]),
        "cells": cells[sane].astype(np.float32),
    }


if __name__ == "__main__":
    main()
