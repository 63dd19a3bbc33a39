"""A long relaxation of real structures with planted bad ones, killed twice with kill −9 and continued.

    python benchmarks/long_jobs.py frames.extxyz --model chgnet --count 500 --output build/long

Prints how every structure ended; exit code 1 when one is lost, finished twice, or a planted one ends otherwise than it
must. The same command continues the job.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch

from groundstate import zoo
from groundstate.atoms import System
from groundstate.data import from_ase
from groundstate.simulation import RelaxConfig, RelaxResult, progress_bar, relax

BAD = {
    "NaN": "E-POSITION-NOT-FINITE",
    "overlap": "E-ATOMS-CLOSE",
    "element 0": "E-ELEMENT-UNKNOWN",
    "no cell": "E-CELL-MISSING",
    "2000 Å of vacuum": "",
}


def main() -> int:
    """The parent kills children twice, finishes the job itself, and judges."""
    options = _options()
    torch.set_num_threads(1)
    batch, planted = job(options)
    if options.child:
        relaxed(batch, options)
        return 0
    generator = np.random.default_rng(options.seed)
    started = time.perf_counter()
    for after in sorted(generator.integers(len(planted), batch.n_systems - batch.n_systems // 10, size=2)):
        kill(options.output, int(after))
    results = relaxed(batch, options)
    print(f"{time.perf_counter() - started:.0f} s in all, {batch.n_atoms} atoms\n")
    return judged(results, planted, finished(options.output))


def job(options: argparse.Namespace) -> tuple[System, dict[int, str]]:
    """Structures of the file, evenly spread, every twentieth replaced by a bad one."""
    frames = [atoms for atoms in ase.io.read(options.file, ":") if len(atoms) <= options.largest]
    frames = frames[:: max(1, len(frames) // options.count)][: options.count]
    planted = {}
    for k in range(10, len(frames), 20):
        planted[k] = list(BAD)[(k // 20) % len(BAD)]
        frames[k] = spoilt(frames[k].copy(), planted[k])
    return System.batch([from_ase(atoms) for atoms in frames]), planted


def spoilt(atoms: ase.Atoms, how: str) -> ase.Atoms:
    """One way to be bad."""
    if how == "NaN":
        atoms.positions[0, 0] = np.nan
    elif how == "overlap":
        atoms += ase.Atoms([int(atoms.numbers[0])], positions=atoms.positions[:1] + 0.02)
    elif how == "element 0":
        atoms.numbers[-1] = 0
    elif how == "no cell":
        atoms.cell[:] = 0
    else:
        atoms.set_cell(np.eye(3) * 2000.0)
    return atoms


def relaxed(batch: System, options: argparse.Namespace) -> list[RelaxResult]:
    """The job itself, whose folder makes it continue."""
    config = RelaxConfig(
        force_tolerance=0.02, cell="full", max_steps=options.steps, max_atoms_per_batch=options.max_atoms
    )
    with progress_bar("relax") as progress:
        return relax(batch, zoo.load(options.model), config, output=options.output, progress=progress)


def kill(folder: Path, after: int) -> None:
    """A child at the same job, killed when so many structures are finished."""
    child = subprocess.Popen([sys.executable, *sys.argv, "--child"], stderr=subprocess.DEVNULL)
    while len(finished(folder)) < after and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    print(f"killed with {len(finished(folder))} structures finished", flush=True)


def finished(folder: Path) -> list[int]:
    """Indices of the finished structures, in the order they finished."""
    results = folder / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True) if results.exists() else []
    return [json.loads(line)["index"] for line in lines if line.endswith(b"\n")]


def judged(results: list[RelaxResult], planted: dict[int, str], on_disk: list[int]) -> int:
    """The table of ends, and what is wrong with it."""
    for (status, code), count in Counter((one.status, one.code) for one in results).most_common():
        print(f"{count:>5}  {status:<10} {code}")
    wrong = [
        f"structure {k} ({how}) ended as {results[k].status} {results[k].code}"
        for k, how in planted.items()
        if BAD[how] != results[k].code and BAD[how]
    ]
    if sorted(on_disk) != list(range(len(results))):
        wrong.append(
            f"{len(results)} structures were given and {len(on_disk)} lines, {len(set(on_disk))} different, kept"
        )
    vacuum = Counter(results[k].status for k, how in planted.items() if not BAD[how])
    print(f"\nin 2000 Å of vacuum: {dict(vacuum)}; steps in all {sum(one.steps for one in results)}")
    print("\n".join(wrong) or "every structure has one end, and the planted ones the right one")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", help="frames in any format ASE reads")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--model", default="chgnet")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--largest", type=int, default=16, help="atoms of the largest structure taken")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--max-atoms", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
