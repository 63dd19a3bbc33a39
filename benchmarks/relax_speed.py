"""Relaxation of many small crystals in one batch, against mace-torch and ASE one crystal after another.

    python benchmarks/relax_speed.py --environments .venv-peers --file frames.extxyz --count 100

Both sides compute the same model: mace-torch's medium shape with random weights, converted. Random weights are nearly
flat, so both sides add the same Morse pair potential, whose cost is taken off the peer's time. Crystals of the file
(without one, the twenty small crystals of benchmarks/speed over and over) are brought to a minimum of that pair
potential, then strained and rattled by seeded noise: what is timed is the way back. One thread each, the same number
type, tolerance and cell (ASE: FrechetCellFilter); times are of the processor. Two minima are the same within 1 meV/atom
and 0.5 % of the volume. The peer stops at its budget; crystals are shuffled, so that its part is a fair sample.
Peers' environments: see benchmarks/speed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).with_name("speed")))

from environments import converted, install, python_of
from plan import TUNED
from relax_speed_peer import CUTOFF, DEPTH, REACH, STEEPNESS, radii
from structures import small_crystals

from groundstate import zoo
from groundstate.atoms import Geometry, System
from groundstate.data import from_ase, to_ase
from groundstate.potentials import Energy, Model, Potential, Sum, Term
from groundstate.simulation import RelaxConfig, RelaxResult, relax

ENERGY_LIMIT_meV, VOLUME_LIMIT_percent = 1.0, 0.5


class Morse(Term):
    """D(x² − 2x)(1 − (r/r_c)²)³, x = exp(−a(r − r₀)), r₀ from covalent radii. The peer's twin is in its script."""

    cutoff = CUTOFF
    reaches_contact = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("radii", torch.from_numpy(radii()))

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        edges = geometry.edges(self.cutoff)
        rest = REACH * (self.radii[system.numbers[edges.receivers]] + self.radii[system.numbers[edges.senders]])
        x = torch.exp(-STEEPNESS * (edges.distances - rest))
        fade = (1 - (edges.distances / self.cutoff) ** 2).clamp_min(0.0) ** 3
        return Energy.of_atoms(system, 0.5 * edges.sum_to_receivers(DEPTH * (x**2 - 2 * x) * fade))


def main() -> int:
    """Relax both ways, print one line per crystal that differs, and the ratio."""
    options = _options()
    torch.set_num_threads(1)
    folder = options.environments.resolve()
    if options.install:
        folder.mkdir(parents=True, exist_ok=True)
        install(folder, "mace", options.torch_index)
    python = python_of(folder, "mace")
    mace = zoo.load(converted(folder, python, "medium", options.dtype))
    pair = Model(None, {}, {"morse": Morse()}, description={"kind": "benchmark-morse"})
    crystals = starts(options, pair, mace.domain.elements or frozenset())
    config = RelaxConfig(force_tolerance=options.tolerance, cell="full", max_steps=options.steps)

    ours, our_time, our_wall = relaxed_here(crystals, Sum([mace, pair]), config)
    print(
        f"here: {_ends([one.status for one in ours])}, {our_time:.1f} s of processor ({our_wall:.1f} s wall)",
        flush=True,
    )
    theirs = relaxed_by_peer(crystals, python, options)
    their_time = sum(one["seconds"] for one in theirs) / max(len(theirs), 1)
    same = compared(crystals, ours, theirs)

    here, there = len(crystals) / our_time, 1 / their_time
    steps = [sum(one.steps for one in ours) / len(ours), sum(one["steps"] for one in theirs) / len(theirs)]
    print(f"\n{same} of the {len(theirs)} crystals that the peer had time for end alike")
    print(f"steps per crystal: here {steps[0]:.0f} ({config.minimiser}), peer {steps[1]:.0f} ({options.optimiser})")
    print(f"crystals per second: here {here:.2f}, peer {there:.4f}, ratio {here / there:.1f}")
    return 0


def starts(options: argparse.Namespace, pair: Potential, elements: frozenset[int]) -> list[ase.Atoms]:
    """Crystals near a minimum of the pair potential, those that have one without changing beyond recognition."""
    given = ase.io.read(options.file, ":") if options.file else small_crystals() * (1 + options.count // 10)
    known = [atoms for atoms in given if elements.issuperset(atoms.numbers.tolist()) and atoms.pbc.all()]
    small = [atoms for atoms in known if 2 <= len(atoms) <= options.largest]
    # Twice as many, since some collapse under a potential that knows no ions.
    chosen = small[:: max(1, len(small) // (2 * options.count))][: 2 * options.count]
    config = RelaxConfig(force_tolerance=0.01, cell="full", max_steps=300, max_volume_change=3.0)
    ends = relax(System.batch([from_ase(atoms) for atoms in chosen]), pair, config)
    generator = np.random.default_rng(0)
    found = [to_ase(end.system)[0] for end in ends if end.converged]
    generator.shuffle(found)
    for atoms in found[: options.count]:
        strain = 0.02 * generator.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += generator.normal(scale=0.05, size=atoms.positions.shape)
    crystals = found[: options.count]
    sizes = [len(atoms) for atoms in crystals]
    print(f"{len(crystals)} crystals of {min(sizes)} to {max(sizes)} atoms, {sum(sizes)} in all", flush=True)
    return crystals


def relaxed_here(
    crystals: list[ase.Atoms], potential: Potential, config: RelaxConfig
) -> tuple[list[RelaxResult], float, float]:
    """Results, and seconds of processor and of the clock."""
    relax(from_ase(crystals[0]), potential, RelaxConfig(force_tolerance=10.0))  # kernels load
    cpu, wall = time.process_time(), time.perf_counter()
    results = relax(System.batch([from_ase(atoms) for atoms in crystals]), potential, config)
    return results, time.process_time() - cpu, time.perf_counter() - wall


def relaxed_by_peer(crystals: list[ase.Atoms], python: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One answer per crystal, as many as the budget allows, in order."""
    asked = {
        "settings": {"shape": "medium", "dtype": options.dtype, "threads": 1},
        "crystals": [
            {"numbers": a.numbers.tolist(), "positions": a.positions.tolist(), "cell": a.cell.array.tolist()}
            for a in crystals
        ],
        "optimiser": options.optimiser,
        "tolerance": options.tolerance,
        "steps": options.steps,
        "budget_s": options.budget,
    }
    variables = {**os.environ, **TUNED, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    variables.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as scratch:
        answers = Path(scratch) / "answers.jsonl"
        script = Path(__file__).with_name("relax_speed_peer.py")
        question = json.dumps(asked | {"answers": str(answers)}).encode()
        subprocess.run([str(python), str(script)], input=question, env=variables, check=True)
        return [json.loads(line) for line in answers.read_text().splitlines()]


def compared(crystals: list[ase.Atoms], ours: list[RelaxResult], theirs: list[dict[str, Any]]) -> int:
    """How many end alike; prints those that do not, and those that either side gives up."""
    same = 0
    for atoms, here, there in zip(crystals, ours, theirs, strict=False):
        label = f"{atoms.get_chemical_formula():<22}"
        if not (here.converged and there["converged"]):
            print(f"{label} here {here.status}, peer {'converged' if there['converged'] else 'not converged'}")
            continue
        energy = 1e3 * (here.energy - there["energy"]) / len(atoms)
        volume = 100 * (float(here.system.volume[0]) / there["volume"] - 1)
        alike = abs(energy) < ENERGY_LIMIT_meV and abs(volume) < VOLUME_LIMIT_percent
        same += alike
        if not alike:
            print(f"{label} differs by {energy:+.3f} meV/atom, {volume:+.3f} % of volume")
    return same


def _ends(status: list[str]) -> str:
    return ", ".join(f"{count} {end}" for end, count in Counter(status).most_common())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--environments", type=Path, required=True, help="folder of the peers' environments")
    parser.add_argument("--install", action="store_true", help="make mace-torch's environment if it is not there")
    parser.add_argument("--torch-index", default="", help="a further package index, e.g. PyTorch's of CPU builds")
    parser.add_argument("--file", help="crystals in any format ASE reads")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--largest", type=int, default=20, help="atoms of the largest crystal taken")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--tolerance", type=float, default=0.01, help="eV/Å")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--optimiser", choices=["FIRE", "LBFGS"], default="FIRE", help="of ASE")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds for the peer")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
