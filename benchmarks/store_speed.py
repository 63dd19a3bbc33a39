"""How fast a store is read, and that its memory does not grow: one million frames by default.

    python benchmarks/store_speed.py frames.extxyz --frames 1000000

The frames of the file are imported, repeated until a shard is full, and the shard is copied until there are enough.
Timed in one process, one thread: records in order; then, after a pass that brings them into the page cache, records at
random, batches of 32 at random gathered from columns, the same batches joined from records held in memory, and the
sizes of all frames. Where the `lmdb` extra and ase-db-backends are installed, ASE's aselmdb reads the file's frames in
the same run. Memory is resident memory without file pages (RssAnon), sampled along the pass in order; file pages are
the map and can be taken back. Times are of the processor, so that other work on the machine counts little.
"""

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from groundstate.data import Store, collate, import_files, open_store, to_ase
from groundstate.data.files import write_whole
from groundstate.data.store import Manifest, ShardEntry, ShardWriter, shard_name

SHARD = 64 << 20


def main() -> None:
    """Make the store, time it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the store is made, and kept; a temporary folder without")
    parser.add_argument("--json", type=Path, help="where the numbers go, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = measure(arguments.file, folder, arguments.frames)
    for name, value in rows.items():
        print(f"{name:<52}{value:>14,.0f}" if isinstance(value, float | int) else f"{name:<52}{value:>14}")
    if arguments.json is not None:
        write_whole(arguments.json, json.dumps(rows, indent=1).encode())


def measure(file: Path, folder: Path, frames: int) -> dict[str, Any]:
    """The table, by name of row."""
    rows: dict[str, Any] = {}
    seconds, source = timed(lambda: import_files([file], folder / "source", overwrite=True))
    rows["import, frames/s (structures examined)"] = len(source) / seconds
    shutil.rmtree(folder / "repeated", ignore_errors=True)
    (folder / "repeated").mkdir()
    entry, seconds = one_shard(source, folder / "repeated", frames)
    rows["written into a shard, frames/s"] = entry.frames / seconds
    store = repeated(entry, folder / "repeated", frames)
    rows["frames in the store"] = len(store)
    rows["store, MB"] = sum(entry.bytes for entry in store.shards.entries) / 1e6
    rows["atoms per frame"] = store.statistics.atoms / len(store)
    seconds, memory = timed(lambda: in_order(store))
    rows["in order, frames/s"] = len(store) / seconds
    rows |= {f"RssAnon after {share} of the pass, MB": value for share, value in memory.items()}
    rng = random.Random(0)
    chosen = [rng.randrange(len(store)) for _ in range(20_000)]
    for index in chosen:
        store[index]
    rows["at random, frames/s"] = len(chosen) / timed(lambda: [store[index] for index in chosen])[0]
    batches = [chosen[start : start + 32] for start in range(0, len(chosen), 32)]
    rows["batches of 32 from columns, frames/s"] = len(chosen) / timed(lambda: [store.collate(b) for b in batches])[0]
    held = list(source)
    inside = [[index % len(held) for index in batch] for batch in batches]
    rows["batches of 32 from records in memory, frames/s"] = (
        len(chosen) / timed(lambda: [collate([held[i] for i in batch]) for batch in inside])[0]
    )
    fresh = open_store(store.folder)
    rows["sizes of all frames, ms"] = 1e3 * timed(lambda: fresh.atom_counts)[0]
    rows["RssAnon at the end, MB"] = resident()
    rows |= peer(held, folder)
    return rows


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, and the result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def one_shard(source: Store, folder: Path, most: int) -> tuple[ShardEntry, float]:
    """A shard full of the frames again and again, and the processor seconds it took."""
    rows, writer, k = list(source.rows()), ShardWriter(), 0
    start = time.process_time()
    while writer.n_bytes < SHARD and k < most:
        writer.copy(*rows[k % len(rows)])
        k += 1
    return writer.write(folder, shard_name(0)), time.process_time() - start


def repeated(entry: ShardEntry, folder: Path, frames: int) -> Store:
    """A store of copies of a shard: files of their own, so that a map of one is none of another."""
    entries = [entry]
    while sum(own.frames for own in entries) < frames:
        entries.append(replace(entry, file=shard_name(len(entries))))
        shutil.copyfile(folder / entry.file, folder / entries[-1].file)
    Manifest(tuple(entries), finished=True).write(folder)
    return open_store(folder)


def in_order(store: Store) -> dict[str, float]:
    """One pass; resident memory along it."""
    memory, marks = {}, {len(store) * percent // 100: f"{percent} %" for percent in (1, 25, 50, 75, 100)}
    for done, record in enumerate(store, start=1):
        assert record.n_atoms
        if done in marks:
            memory[marks[done]] = resident()
    return memory


def resident() -> float:
    """MB of this process that are no pages of files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


def peer(records: list[Any], folder: Path) -> dict[str, float]:
    """ASE's LMDB on the same frames."""
    try:
        import ase_db_backends  # noqa: F401
        import lmdb  # noqa: F401
        from ase.db import connect
    except ImportError:
        return {}
    path = folder / "peer.aselmdb"
    path.unlink(missing_ok=True)
    with connect(str(path)) as database:
        for record in records:
            (atoms,) = to_ase(record.system)
            database.write(atoms)
    database = connect(str(path))
    seconds = timed(lambda: [row.toatoms() for row in database.select()])[0]
    os.remove(path)
    return {"aselmdb by ASE in order, without labels, frames/s": len(records) / seconds}


if __name__ == "__main__":
    main()
