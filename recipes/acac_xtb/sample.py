"""Cheap labels for a molecule: short trajectories of GFN2-xTB from frames at hand, hot and cold.

    python recipes/acac_xtb/sample.py train_300K.xyz --output xtb.extxyz --frames 30000 --part 0 --of 2

`pip install groundstate[xtb]` brings GFN2-xTB. Each trajectory starts at a frame drawn at random, at a temperature of
TEMPERATURES, and gives one frame every five femtoseconds after the first twenty. Energies and forces are those of
GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019)); no label of the frames is read. Parts
are independent and can run side by side. The file grows trajectory by trajectory; the same command continues.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from rich.progress import track
from tblite.ase import TBLite

TEMPERATURES = (300.0, 600.0, 900.0, 1200.0)
"""K; one after another."""
STEPS, EVERY, SETTLE = 200, 5, 20
"""Steps of 1 fs of a trajectory; from one frame to the next; before the first."""
FRICTION = 0.02 / units.fs


def main() -> None:
    """One part of the frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("starts", type=Path, help="structures of one molecule that trajectories start from")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=30000, help="of all parts together")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    options = parser.parse_args()
    starts = read(options.starts, index=":")
    each = (STEPS - SETTLE) // EVERY
    done = len(read(options.output, index=":")) // each if options.output.exists() else 0
    mine = range(options.part, -(-options.frames // each), options.of)
    for number in track(mine[done:], "trajectories"):
        generator = np.random.default_rng(number)
        start = starts[generator.integers(len(starts))]
        write(options.output, trajectory(start, TEMPERATURES[number % len(TEMPERATURES)], generator), append=True)


def trajectory(start: Atoms, temperature: float, generator: np.random.Generator) -> list[Atoms]:
    """Frames with energy and forces; drawn again where the self-consistency fails."""
    while True:
        atoms = Atoms(start.numbers, start.positions, calculator=TBLite(method="GFN2-xTB", verbosity=0))
        widths = np.sqrt(units.kB * temperature * atoms.get_masses())
        atoms.set_momenta(widths[:, None] * generator.normal(size=(len(atoms), 3)))
        dynamics = Langevin(atoms, units.fs, temperature_K=temperature, friction=FRICTION, rng=generator, fixcm=False)
        frames: list[Atoms] = []
        try:
            for step, _ in enumerate(dynamics.irun(STEPS)):
                if step > SETTLE and step % EVERY == 0:
                    frame = Atoms(atoms.numbers, atoms.positions, info={"temperature": temperature})
                    said = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
                    frame.calc = SinglePointCalculator(frame, **said)
                    frames.append(frame)
        except CalculationFailed:
            continue
        return frames


if __name__ == "__main__":
    main()
