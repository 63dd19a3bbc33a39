"""Relaxation here, in one batch, against ASE's FIRE with the authors' CHGNet calculator, one structure after another.

    python benchmarks/relax_parity.py frames.extxyz --frames 30 --threads 1

Cell and positions relax to 0.01 eV/Å on both sides. Two minima are the same when they agree to 1 meV/atom and 0.5 % of
the volume; exit code 1 when any differ or only one side converges.
"""

import argparse
import sys
import time
import warnings

import ase
import ase.io
import torch
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from groundstate import zoo
from groundstate.atoms import System
from groundstate.data import from_ase
from groundstate.simulation import RelaxConfig, relax

ENERGY_LIMIT_meV = 1.0
VOLUME_LIMIT_percent = 0.5


def main() -> int:
    """Relax both ways, print one line per structure, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", help="frames in any format ASE reads")
    parser.add_argument("--frames", type=int, default=30, help="how many, evenly spread over the file")
    parser.add_argument("--largest", type=int, default=20, help="atoms of the largest structure taken")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    small = [frame for frame in ase.io.read(options.file, ":") if len(frame) <= options.largest]
    frames = small[:: max(1, len(small) // options.frames)][: options.frames]
    config = RelaxConfig(force_tolerance=0.01, cell="full", max_steps=options.steps)
    potential = zoo.load("chgnet")
    started = time.perf_counter()
    ours = relax(System.batch([from_ase(frame) for frame in frames]), potential, config)
    our_time = time.perf_counter() - started

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from chgnet.model.dynamics import CHGNetCalculator

        calculator = CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore")
    their_time, same = 0.0, 0
    print(f"{'structure':<22}{'steps':>12}{'ΔE meV/atom':>13}{'ΔV %':>8}")
    for result, frame in zip(ours, frames, strict=True):
        started = time.perf_counter()
        energy, volume, steps, converged = relaxed_by_ase(frame.copy(), calculator, options.steps)
        their_time += time.perf_counter() - started
        counts = f"{result.steps} / {steps}"
        label = f"{frame.get_chemical_formula():<22}{counts:>12}"
        if result.energy is None or not (result.converged and converged):
            print(f"{label}  here {result.status} {result.reason}, ASE {'converged' if converged else 'not converged'}")
            same += not (result.converged or converged)
            continue
        energy_difference = 1e3 * (result.energy - energy) / len(frame)
        volume_difference = 100 * (float(result.system.volume[0]) / volume - 1)
        agrees = abs(energy_difference) < ENERGY_LIMIT_meV and abs(volume_difference) < VOLUME_LIMIT_percent
        same += agrees
        print(f"{label}{energy_difference:>13.3f}{volume_difference:>8.3f}  {'same' if agrees else 'DIFFERS'}")
    print(f"\n{same} of {len(frames)} end alike")
    print(f"seconds: here {our_time:.1f}, ASE {their_time:.1f}, ratio {their_time / our_time:.1f}")
    return 0 if same == len(frames) else 1


def relaxed_by_ase(atoms: ase.Atoms, calculator: Calculator, max_steps: int) -> tuple[float, float, int, bool]:
    """Energy (eV), volume (Å³), steps and whether it converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atoms.calc = calculator
        optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
        converged = bool(optimizer.run(fmax=0.01, steps=max_steps))
        return (
            float(atoms.get_potential_energy()),
            float(atoms.get_volume()),
            optimizer.get_number_of_steps(),
            converged,
        )


if __name__ == "__main__":
    sys.exit(main())
