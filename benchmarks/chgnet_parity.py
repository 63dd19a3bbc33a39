"""CHGNet here and in its authors' calculator: the same numbers, and how long each takes.

    python benchmarks/chgnet_parity.py frames.extxyz --frames 200 --threads 1

The authors compute in float32, where their forces carry rounding up to about 1 meV/Å. What is judged is therefore the
distance of our float32 result from their code and weights run in float64; their own rounding is printed beside it.
Exit code 1 above 1 meV/atom or 1 meV/Å.
"""

import argparse
import sys
import time
import warnings
from typing import Any

import ase
import ase.io
import numpy as np
import torch

from groundstate import zoo
from groundstate.atoms import System
from groundstate.data import from_ase
from groundstate.potentials import evaluate

WANT = ("energy", "forces", "stress", "magnetic_moments")
UNITS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³", "magnetic_moments": "mμB"}
LIMITS = {"energy": 1.0, "forces": 1.0}

Results = list[dict[str, Any]]


def main() -> int:
    """Run both, print the table, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", help="frames in any format ASE reads")
    parser.add_argument("--frames", type=int, default=200, help="how many, evenly spread over the file")
    parser.add_argument("--batch-atoms", type=int, default=1000, help="atoms computed together here")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    frames = ase.io.read(options.file, ":")
    frames = frames[:: max(1, len(frames) // options.frames)][: options.frames]
    atoms = sum(len(frame) for frame in frames)
    print(f"{len(frames)} frames, {atoms} atoms, {options.threads} threads")

    ours, our_time = computed_here(frames, options.batch_atoms)
    theirs, their_time = computed_by_authors(frames, torch.float32)
    exact, _ = computed_by_authors(frames, torch.float64)

    print(f"\n{'largest difference':<20}{'here – exact':>14}{'authors – exact':>17}{'here – authors':>16}")
    worst = {}
    for name in WANT:
        worst[name] = largest_difference(ours, exact, name)
        row = (worst[name], largest_difference(theirs, exact, name), largest_difference(ours, theirs, name))
        print(f"{name:<20}{row[0]:>14.2g}{row[1]:>17.2g}{row[2]:>16.2g}  {UNITS[name]}")
    print("\nµs per atom          wall       CPU")
    for label, spent in (("here, batched", our_time), ("authors, one by one", their_time)):
        print(f"{label:<20}{spent[0] / atoms * 1e6:>6.0f}{spent[1] / atoms * 1e6:>10.0f}")
    print(f"{'ratio':<20}{their_time[0] / our_time[0]:>6.1f}{their_time[1] / our_time[1]:>10.1f}")

    too_far = [name for name, limit in LIMITS.items() if not worst[name] <= limit]
    print("\nverdict:", f"differs in {', '.join(too_far)}" if too_far else "the same function")
    return 1 if too_far else 0


def computed_here(frames: list[ase.Atoms], batch_atoms: int) -> tuple[Results, tuple[float, float]]:
    """Conversion, neighbours and all quantities, in batches."""
    potential = zoo.load("chgnet")
    evaluate(potential, from_ase(frames[0]), WANT)
    results: Results = []
    started = time.perf_counter(), time.process_time()
    for part in packed(frames, batch_atoms):
        system = System.batch([from_ase(frame) for frame in part])
        found = evaluate(potential, system, WANT)
        bounds = system.system_ptr.tolist()
        for s in range(len(part)):
            rows = {"energy": s, "stress": s}
            mine = slice(bounds[s], bounds[s + 1])
            results.append({name: found[name][rows.get(name, mine)].numpy() for name in WANT})
    return results, (time.perf_counter() - started[0], time.process_time() - started[1])


def packed(frames: list[ase.Atoms], batch_atoms: int) -> list[list[ase.Atoms]]:
    """Consecutive frames, together until they have `batch_atoms` atoms."""
    parts: list[list[ase.Atoms]] = [[]]
    for frame in frames:
        if parts[-1] and sum(map(len, parts[-1])) + len(frame) > batch_atoms:
            parts.append([])
        parts[-1].append(frame)
    return parts


def computed_by_authors(frames: list[ase.Atoms], dtype: torch.dtype) -> tuple[Results, tuple[float, float]]:
    """Frame by frame with the ASE calculator of the package; float64 by changing its one constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import chgnet.graph.converter
        import chgnet.graph.crystalgraph
        import chgnet.model.model
        from chgnet.model.dynamics import CHGNetCalculator

        calculator = CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore")
        for module in (chgnet.graph.converter, chgnet.graph.crystalgraph, chgnet.model.model):
            module.TORCH_DTYPE = dtype
        calculator.model.to(dtype)
        calculator.model.composition_model.float()
        calculator.calculate(frames[0].copy())
        results: Results = []
        started = time.perf_counter(), time.process_time()
        for frame in frames:
            calculator.calculate(frame.copy())
            results.append({name: np.asarray(calculator.results[key]) for name, key in _KEYS.items()})
        return results, (time.perf_counter() - started[0], time.process_time() - started[1])


_KEYS = {"energy": "energy", "forces": "forces", "stress": "stress", "magnetic_moments": "magmoms"}


def largest_difference(first: Results, second: Results, name: str) -> float:
    """In thousandths of the unit; per atom for the energy."""
    differences = []
    for one, other in zip(first, second, strict=True):
        scale = len(one["forces"]) if name == "energy" else 1
        differences.append(float(np.abs(one[name] - other[name]).max()) / scale)
    return 1e3 * max(differences)


if __name__ == "__main__":
    sys.exit(main())
