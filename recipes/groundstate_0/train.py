r"""Trains the default model on the shards of `structures.py` and the labels of a teacher.

    python recipes/groundstate_0/train.py --structures FOLDER … --labels FOLDER … \
        --recipe recipes/groundstate_0/S.toml --output RUN --minutes 60

Compositions that `structures.py` held out are the validation set. The same command continues after a kill, or after its
minutes are over, when it is given more of them; a GPU is used where there is one.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from groundstate.atoms import LevelOfTheory
from groundstate.data import Columns
from groundstate.potentials.checkpoint import save
from groundstate.training.aims import FitLabels
from groundstate.training.loop import Loop
from groundstate.training.parallel import start_fabric
from groundstate.training.recipe import load_recipe
from groundstate.training.report import Report
from groundstate.training.run_folder import RunFolder
from groundstate.training.scratch import build_for, untrained

THEORY = LevelOfTheory(
    functional="PBE",
    hubbard_u=(("Co", 3.32), ("Cr", 3.7), ("Fe", 5.3), ("Mn", 3.9), ("Mo", 4.38), ("Ni", 6.2), ("V", 3.25), ("W", 6.2)),
    pseudopotential="VASP PAW PBE",
    code="SevenNet-0 (11Jul2024), which learned VASP of MPtrj",
    energy_zero="VASP's, U in oxides and fluorides only, no MP2020 correction",
)
LARGEST_FORCE, LARGEST_STRESS, LARGEST_RESIDUAL = 10.0, 0.3, 3.0
"""eV/Å, eV/Å³, eV/atom from the reference energies: beyond them the teacher itself has seen nothing."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, nargs="+", required=True)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="one folder for each of structures")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="the schedule ends with them")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args()
    model, config = load_recipe(options.recipe)
    config = untrained(replace(config, time_limit_minutes=options.minutes))
    if options.learning_rate is not None:
        config = replace(config, learning_rate=options.learning_rate)
    train, valid, references = labelled(options.structures, options.labels)
    potential = build_for(train[:: max(1, len(train) // 2000)], model, references, config.seed)
    fabric, folder = start_fabric(config), RunFolder(options.output)
    folder.path.mkdir(parents=True, exist_ok=True)
    loop = Loop(
        fabric,
        potential,
        FitLabels(config.weights, loss=config.loss, huber_delta=config.huber_delta),
        config,
        folder,
        train.to(fabric.device),
        valid.to(fabric.device),
    )
    loop.resume()
    start = loop.state.counters.epoch
    with Report(folder, epochs=config.epochs, start=start, progress=options.progress, tensorboard=False) as report:
        loop.fit(report)
    loop.state.use_best()
    save(potential.eval().cpu(), folder.model, notes={"training": {"config": config.as_dict()}})
    folder.write_json("result.json", loop.state.counters.history[-1])


def labelled(structures: list[Path], labels: list[Path]) -> tuple[Columns, Columns, dict[int, float]]:
    """Training and validation set, of what has labels and what the teacher can be believed on; reference energies."""
    begin = time.monotonic()
    parts: dict[str, list[np.ndarray]] = {}
    files = [
        (file, there / file.name.replace("labels", "structures"))
        for there, here in zip(structures, labels, strict=True)
        for file in sorted(here.glob("labels-*.npz"))
    ]
    for file, of in files:
        with np.load(file) as known, np.load(of) as given:
            for name in ("numbers", "positions", "cells", "held_out"):
                parts.setdefault(name, []).append(given[name])
            parts.setdefault("counts", []).append(np.diff(given["ptr"]))
            for name in ("energy", "forces", "stress"):
                parts.setdefault(name, []).append(known[name])
    all_of = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    counts = all_of["counts"]
    of_atom = np.repeat(np.arange(len(counts)), counts)
    fractions = np.zeros((len(counts), 119))
    np.add.at(fractions, (of_atom, all_of["numbers"]), 1)
    fractions /= counts[:, None]
    per_atom = all_of["energy"] / counts
    force = np.zeros(len(counts))
    np.maximum.at(force, of_atom, np.abs(all_of["forces"]).max(axis=1))
    stress = np.abs(all_of["stress"]).max(axis=1)
    good = (force < LARGEST_FORCE) & (stress < LARGEST_STRESS) & np.isfinite(per_atom)
    # Again without those far from the first fit, which would pull it.
    for _ in range(3):
        fit = np.linalg.lstsq(fractions[good], per_atom[good], rcond=None)[0]
        good &= np.abs(per_atom - fractions @ fit) < LARGEST_RESIDUAL
    told = {
        "structures": len(counts),
        "kept": int(good.sum()),
        "left out by force": int((force >= LARGEST_FORCE).sum()),
        "by stress": int((stress >= LARGEST_STRESS).sum()),
        "rms force, eV/Å": float(np.sqrt((all_of["forces"][good[of_atom]] ** 2).mean())),
        "seconds": time.monotonic() - begin,
    }
    print(json.dumps(told), flush=True)
    held_out = all_of["held_out"]
    present = np.flatnonzero((fractions[good] > 0).any(axis=0))
    references = {int(z): float(fit[z]) for z in present}
    return _columns(all_of, good & ~held_out, of_atom), _columns(all_of, good & held_out, of_atom), references


def _columns(arrays: dict[str, np.ndarray], chosen: np.ndarray, of_atom: np.ndarray) -> Columns:
    atoms, counts = chosen[of_atom], arrays["counts"][chosen]
    xx, yy, zz, xy, yz, zx = arrays["stress"][chosen].T
    stress = np.stack([xx, xy, zx, xy, yy, yz, zx, yz, zz], axis=1).reshape(-1, 3, 3)
    labels = {"energy": arrays["energy"][chosen], "forces": arrays["forces"][atoms], "stress": stress}
    return Columns(
        torch.from_numpy(arrays["numbers"][atoms]),
        torch.from_numpy(arrays["positions"][atoms]),
        torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])),
        torch.from_numpy(arrays["cells"][chosen]),
        {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in labels.items()},
        THEORY,
    )


if __name__ == "__main__":
    main()
