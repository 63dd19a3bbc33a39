"""How far each optimiser gets in the same time: size S on a published set from scratch, errors on the frames that
choose the epoch. Frames that judge the published tables are not used.

    python benchmarks/published/optimisers.py acac --data DATA --output runs [--minutes 3]

`adam` is with AMSGrad and `adam-plain` without, both at the rate 0.02 that was chosen for the first; `muon` at 0.02 and
at 0.05. One thread; the same command continues.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from run import HERE
from sets import divide, load_sets

from groundstate.potentials.mace import MACEConfig
from groundstate.training import TrainConfig, train_from_scratch

WAYS: dict[str, dict[str, Any]] = {
    "adam": {"optimiser": "adam", "amsgrad": True, "learning_rate": 0.02},
    "adam-plain": {"optimiser": "adam", "amsgrad": False, "learning_rate": 0.02},
    "muon-0.02": {"optimiser": "muon", "learning_rate": 0.02},
    "muon-0.05": {"optimiser": "muon", "learning_rate": 0.05},
}


def main() -> None:
    """A line per way, and its ratio of force errors to the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="a name in sets.toml")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = load_sets(HERE / "sets.toml")[options.set]
    division, model = divide(chosen, options.data, None), MACEConfig.of_size("S", cutoff=5.0)
    first = None
    for way in options.ways:
        config = TrainConfig(epochs=1000, time_limit_minutes=options.minutes, **WAYS[way])
        run = train_from_scratch(division.train, division.valid, model, config, options.output / way)
        energy, forces = run.after["energy"].rmse, run.after["forces"].rmse
        first = first or forces
        print(
            f"{way:<11} {run.history[-1]['epoch']:6.1f} epochs   RMSE {1e3 * energy:.3f} meV/atom, "
            f"{1e3 * forces:.1f} meV/Å   {forces / first:.2f} of {options.ways[0]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
