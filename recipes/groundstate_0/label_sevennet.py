"""Labels of SevenNet for the shards of `structures.py`: a program of its own, to be run where the package `sevenn` is.

    python label_sevennet.py --structures structures --output labels [--checkpoint 7net-0] [--device cuda]

SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)) is GPL-3; it is run here, and what it says is used.
Needs `sevenn` and `vesin`, nothing of groundstate. One shard of labels is written for each shard of structures, under
the same name; the same command continues after a kill.

A shard is an `.npz`: energy (eV, as VASP gives it under the rules of the Materials Project, no MP2020 correction),
forces (eV/Å), stress (eV/Å³, xx yy zz xy yz zx, positive in tension), and `teacher`, the name of the checkpoint with
its SHA-256.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from vesin import NeighborList


class Group(NamedTuple):
    """Structures evaluated together: where they begin and end in the shard, and their edges."""

    first: int
    end: int
    source: np.ndarray
    target: np.ndarray
    vectors: np.ndarray


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--checkpoint", default="7net-0", help="name known to sevenn, or a file")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--edges", type=int, default=0, help="edges evaluated together (default: 4 000 for each GB)")
    parser.add_argument("--workers", type=int, default=2, help="processes that search neighbours")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no shard after this time")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    model, cutoff, name = _teacher(options.checkpoint, options.device)
    edges = options.edges or (4000 if options.device == "cpu" else 80_000)
    begin = time.monotonic()
    with get_context("spawn").Pool(options.workers) as pool:
        for file in sorted(options.structures.glob("structures-*.npz")):
            to = options.output / file.name.replace("structures", "labels")
            if to.exists():
                continue
            if time.monotonic() - begin > 60 * options.minutes:
                print("time is up; the same command continues")
                break
            started = time.monotonic()
            with np.load(file) as shard:
                structures = {key: shard[key] for key in ("numbers", "positions", "ptr", "cells")}
            found = _labelled(model, structures, pool, cutoff, edges, options.device)
            partial = to.with_suffix(".part")
            with partial.open("wb") as stream:
                np.savez(stream, teacher=name, **found)
            partial.replace(to)
            atoms = len(structures["numbers"])
            spent = time.monotonic() - started
            print(f"{to.name}: {atoms} atoms in {spent:.1f} s, {1e6 * spent / atoms:.1f} µs/atom", flush=True)


def _teacher(checkpoint: str, device: str) -> tuple[Any, float, str]:
    from sevenn import util

    loaded = util.load_checkpoint(checkpoint)
    model = loaded.build_model()
    model.set_is_batch_data(True)
    path = Path(util.pretrained_name_to_path(checkpoint) if not Path(checkpoint).exists() else checkpoint)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return model.to(device).eval(), float(loaded.config["cutoff"]), f"{checkpoint} sha256:{digest}"


def _labelled(model: Any, shard: dict[str, np.ndarray], pool: Any, cutoff: float, edges: int, device: str) -> Any:
    n = len(shard["ptr"]) - 1
    found = {
        "energy": np.full(n, np.nan),
        "forces": np.full((len(shard["numbers"]), 3), np.nan, np.float32),
        "stress": np.full((n, 6), np.nan, np.float32),
    }
    for group in pool.imap(_Neighbours(shard, cutoff), _groups(shard, cutoff, edges)):
        energy, forces, stress = _evaluate(model, shard, group, device)
        first, end = group.first, group.end
        found["energy"][first:end], found["stress"][first:end] = energy, stress
        found["forces"][shard["ptr"][first] : shard["ptr"][end]] = forces
    return found


def _groups(shard: dict[str, np.ndarray], cutoff: float, edges: int) -> Iterator[tuple[int, int]]:
    """Consecutive structures with about `edges` edges, as their densities promise."""
    atoms, volumes = np.diff(shard["ptr"]), np.abs(np.linalg.det(shard["cells"].astype(float)))
    expected = atoms**2 / volumes * (4 / 3 * np.pi * cutoff**3)
    first, load = 0, 0.0
    for index, cost in enumerate(expected):
        if index > first and load + cost > edges:
            yield first, index
            first, load = index, 0.0
        load += cost
    yield first, len(atoms)


class _Neighbours:
    def __init__(self, shard: dict[str, np.ndarray], cutoff: float) -> None:
        self.shard, self.cutoff = shard, cutoff

    def __call__(self, span: tuple[int, int]) -> Group:
        ptr, found = self.shard["ptr"], []
        start = ptr[span[0]]
        for index in range(*span):
            positions = self.shard["positions"][ptr[index] : ptr[index + 1]].astype(np.float64)
            cell = self.shard["cells"][index].astype(np.float64)
            search = NeighborList(cutoff=self.cutoff, full_list=True)
            i, j, vectors = search.compute(positions, cell, True, quantities="ijD")
            offset = ptr[index] - start
            found.append((i.astype(np.int64) + offset, j.astype(np.int64) + offset, vectors.astype(np.float32)))
        return Group(*span, *(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _evaluate(model: Any, shard: dict[str, np.ndarray], group: Group, device: str) -> tuple[np.ndarray, ...]:
    ptr, first, end = shard["ptr"], group.first, group.end
    counts = np.diff(ptr[first : end + 1])
    volumes = np.abs(np.linalg.det(shard["cells"][first:end].astype(float)))

    def on_device(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    numbers = on_device(shard["numbers"][ptr[first] : ptr[end]].astype(np.int64))
    data = {
        "x": numbers,
        "atomic_numbers": numbers,
        "edge_index": torch.stack([on_device(group.source), on_device(group.target)]),
        "edge_vec": on_device(group.vectors).requires_grad_(),
        "cell_volume": on_device(volumes.astype(np.float32)),
        "num_atoms": on_device(counts),
        "batch": on_device(np.repeat(np.arange(end - first), counts)),
    }
    out = model(data)
    # SevenNet's own sign of the stress is that of pressure.
    names = ("inferred_total_energy", "inferred_force", "inferred_stress")
    energy, forces, pressure = (out[name].detach().cpu().numpy() for name in names)
    return energy.reshape(-1).astype(float), forces, -pressure


if __name__ == "__main__":
    main()
