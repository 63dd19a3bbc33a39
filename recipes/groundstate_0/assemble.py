r"""From shards of structures and labels to the two stores that the default model learns from.

    python recipes/groundstate_0/assemble.py --structures FOLDER … --labels FOLDER … --output sets
    groundstate train sets/train --valid sets/valid --recipe recipes/groundstate_0/S.toml --output groundstate-0-S

Energies of CHGNet are freed of the corrections it has learned (`mp2020.py`). Magnetic moments come from labels that
have them, or, for labels of another teacher, from the folders of `--moments` as far as they go. Compositions that
`structures.py` held out are the validation set. Left out, and counted, is what the teacher cannot be believed on:
structures far from everything it has seen.
"""

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from mp2020 import HUBBARD_U, corrections

from groundstate.atoms import LevelOfTheory, System
from groundstate.data import Provenance, Record, write_records

THEORY = LevelOfTheory(
    functional="PBE",
    hubbard_u=tuple(sorted(HUBBARD_U.items())),
    basis="PW 520 eV",
    pseudopotential="VASP PAW PBE, Materials Project selection",
    code="VASP, through models that learned MPtrj",
    energy_zero="VASP pseudo-atoms, no MP2020 corrections; U in oxides and fluorides only",
)
LARGEST_FORCE, LARGEST_STRESS, LARGEST_RESIDUAL = 10.0, 0.3, 3.0
"""eV/Å, eV/Å³, eV/atom from the best energies of elements: beyond them the teacher itself has seen nothing."""
Shard = dict[str, np.ndarray]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, nargs="+", required=True)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="one folder for each of structures")
    parser.add_argument("--moments", type=Path, nargs="*", default=[], help="one folder of labels for each of labels")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    files = _files(options.structures, options.labels, options.moments or options.labels)
    shards: list[Shard] = []
    with ProcessPoolExecutor() as pool:
        for shard in pool.map(_shard, *files):
            shards.append(shard)
            print(f"{len(shards)} of {len(files[0])} shards read", end="\r", flush=True)  # 4 ms for a corrected oxide
    believed, told = _believed(shards)
    print(json.dumps(told, indent=1))
    options.output.mkdir(parents=True, exist_ok=True)
    for role, held_out in (("train", False), ("valid", True)):
        chosen = [good & (shard["held_out"] == held_out) for shard, good in zip(shards, believed, strict=True)]
        records = (record for shard, rows in zip(shards, chosen, strict=True) for record in _records(shard, rows))
        write_records(records, options.output / role, overwrite=options.overwrite)


def _files(
    structures: list[Path], labels: list[Path], moments: list[Path]
) -> tuple[list[Path], list[Path], list[Path]]:
    """Of each shard its structures, its labels, and where its moments may be."""
    found = [
        (there / file.name.replace("labels", "structures"), file, beside / file.name)
        for there, here, beside in zip(structures, labels, moments, strict=True)
        for file in sorted(here.glob("labels-*.npz"))
    ]
    given, known, magnetic = zip(*found, strict=True)
    return list(given), list(known), list(magnetic)


def _shard(structures: Path, labels: Path, moments: Path) -> Shard:
    with np.load(labels) as known, np.load(structures) as given:
        shard: Shard = {name: known[name] for name in ("energy", "forces", "stress", "teacher")}
        shard |= {name: given[name] for name in ("numbers", "positions", "cells", "ptr", "held_out")}
    if moments.exists():
        with np.load(moments) as known:
            shard |= {name: known[name] for name in ("magnetic_moments",) if name in known}
    if str(shard["teacher"]).startswith("chgnet@"):
        shard["energy"] = shard["energy"] - corrections(shard)
    return shard


def _believed(shards: list[Shard]) -> tuple[list[np.ndarray], dict[str, float]]:
    """Which structures of each shard are learned from, and how many are not, and why."""
    counts = [np.diff(shard["ptr"]) for shard in shards]
    fractions = np.concatenate([_fractions(shard, n) for shard, n in zip(shards, counts, strict=True)])
    force = np.concatenate([_largest_force(shard, n) for shard, n in zip(shards, counts, strict=True)])
    stress = np.concatenate([np.abs(shard["stress"]).max(axis=1) for shard in shards])
    per_atom = np.concatenate([shard["energy"] / n for shard, n in zip(shards, counts, strict=True)])
    good = (force < LARGEST_FORCE) & (stress < LARGEST_STRESS) & np.isfinite(per_atom)
    usual = good.copy()
    # Again without those far from the first fit, which would pull it.
    for _ in range(3):
        fit = np.linalg.lstsq(fractions[good], per_atom[good], rcond=None)[0]
        good = usual & (np.abs(per_atom - fractions @ fit) < LARGEST_RESIDUAL)
    told = {
        "structures": len(good),
        "left out by force": int((~(force < LARGEST_FORCE)).sum()),
        "left out by stress": int((~(stress < LARGEST_STRESS)).sum()),
        "left out by energy": int((usual & ~good).sum()),
        "left out without a rule of MP2020": int((~np.isfinite(per_atom)).sum()),
        "kept": int(good.sum()),
    }
    return np.split(good, np.cumsum([len(n) for n in counts])[:-1]), told


def _fractions(shard: Shard, counts: np.ndarray) -> np.ndarray:
    """Share of each element [structure, atomic number]."""
    found = np.zeros((len(counts), 119))
    np.add.at(found, (np.repeat(np.arange(len(counts)), counts), shard["numbers"]), 1)
    return found / counts[:, None]


def _largest_force(shard: Shard, counts: np.ndarray) -> np.ndarray:
    found = np.zeros(len(counts))
    np.maximum.at(found, np.repeat(np.arange(len(counts)), counts), np.abs(shard["forces"]).max(axis=1))
    return found


def _records(shard: Shard, chosen: np.ndarray) -> Iterator[Record]:
    for row in np.flatnonzero(chosen).tolist():
        atoms = slice(shard["ptr"][row], shard["ptr"][row + 1])
        xx, yy, zz, xy, yz, zx = shard["stress"][row].astype(float)
        labels = {
            "energy": torch.tensor(shard["energy"][row], dtype=torch.float64),
            "forces": torch.from_numpy(shard["forces"][atoms].astype(np.float64)),
            "stress": torch.tensor([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]], dtype=torch.float64),
        }
        if "magnetic_moments" in shard:
            labels["magnetic_moments"] = torch.from_numpy(shard["magnetic_moments"][atoms].astype(np.float64))
        system = System.single(
            shard["positions"][atoms].astype(np.float64),
            shard["numbers"][atoms].astype(np.int64),
            cell=shard["cells"][row].astype(np.float64),
            pbc=(True, True, True),
        )
        yield Record(system, labels, THEORY, Provenance(file=str(shard["teacher"])))


if __name__ == "__main__":
    main()
