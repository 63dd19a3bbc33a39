"""Stores from stores: a selection written on its own, several joined into one. Nothing is computed or read again.

Checked: tests/data/store/test_reshaping.py
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from groundstate.atoms import DataError, LevelOfTheory, OptionError, RunError
from groundstate.data.files import whole_file
from groundstate.data.importing import MEGABYTE, SHARD_MB
from groundstate.data.record import Record
from groundstate.data.split import divide
from groundstate.data.store import (
    Manifest,
    ShardEntry,
    ShardWriter,
    Store,
    is_store,
    open_store,
    owned_store,
    shard_name,
)

Told = Callable[[int, int], None]
"""Is told how many of how many frames are written."""


def _silent(done: int, total: int) -> None:
    """The default: nothing is said."""


def write_store(
    store: Store, folder: str | Path, *, shard_MB: float = SHARD_MB, overwrite: bool = False, told: Told = _silent
) -> Store:
    """Copy the records of a store, or of a selection, into a store of their own, in their order.

    Refuses a folder that holds a store (RunError E-OUTPUT-EXISTS) unless `overwrite`.
    """
    target = Path(folder).expanduser()
    refuse_store(target, overwrite=overwrite)
    with owned_store(target, overwrite=True) as manifest:
        writer, n = ShardWriter(), len(store)
        for done, (shard, frame) in enumerate(store.rows(), start=1):
            writer.copy(shard, frame)
            if writer.n_bytes >= shard_MB * MEGABYTE or done == n:
                entry = writer.write(target, shard_name(len(manifest.shards)))
                manifest = replace(manifest, shards=(*manifest.shards, entry))
                writer = ShardWriter()
                told(done, n)
        # Only now: a copy that was killed is no store, and the same command makes it again.
        replace(manifest, sources=store.manifest.sources, finished=True).write(target)
    return open_store(target)


def write_records(
    records: Iterable[Record], folder: str | Path, *, shard_MB: float = SHARD_MB, overwrite: bool = False
) -> Store:
    """Records that a program made, as a store; one that was killed is no store, and is made again."""
    target = Path(folder).expanduser()
    refuse_store(target, overwrite=overwrite)
    with owned_store(target, overwrite=True) as manifest:
        writer = ShardWriter()
        for record in records:
            writer.add(record)
            if writer.n_bytes >= shard_MB * MEGABYTE:
                manifest = _with_shard(manifest, writer, target)
                writer = ShardWriter()
        if writer.n_frames:
            manifest = _with_shard(manifest, writer, target)
        replace(manifest, finished=True).write(target)
    return open_store(target)


def _with_shard(manifest: Manifest, writer: ShardWriter, folder: Path) -> Manifest:
    return replace(manifest, shards=(*manifest.shards, writer.write(folder, shard_name(len(manifest.shards)))))


def split_store(
    store: Store,
    folder: str | Path,
    fractions: Sequence[float],
    names: Sequence[str],
    seed: int = 0,
    *,
    keep_together: str = "structure",
    block: int | None = None,
    overwrite: bool = False,
    told: Told = _silent,
) -> dict[str, Store]:
    """Divide a store as `split` does, into stores of the given names in one folder, each in the order of the whole."""
    if len(names) != len(fractions) or len(set(names)) != len(names):
        raise OptionError(
            "E-SPLIT-NAMES",
            f"{len(fractions)} sets need as many different names, got {', '.join(names)}",
            fix="give one name per fraction",
        )
    place = Path(folder).expanduser()
    for name in names:
        refuse_store(place / name, overwrite=overwrite)
    parts = divide(store, fractions, seed, keep_together=keep_together, block=block)
    return _written(
        {name: sorted(part) for name, part in zip(names, parts, strict=True)}, store, place, overwrite, told
    )


def separate(store: Store, folder: str | Path, *, overwrite: bool = False, told: Told = _silent) -> dict[str, Store]:
    """One store for each level of theory, named by it, and one for the frames that state none, in one folder."""
    table, places = store.shards.levels[0], store.level_indices
    parts = {
        "no-level-stated" if k < 0 else _file_name(table[k]): np.flatnonzero(places == k).tolist()
        for k in np.unique(places).tolist()
    }
    return _written(parts, store, Path(folder).expanduser(), overwrite, told)


def _file_name(level: LevelOfTheory) -> str:
    return "".join(letter if letter.isalnum() or letter in "+-" else "-" for letter in level.id)


def _written(
    parts: Mapping[str, Sequence[int]], store: Store, folder: Path, overwrite: bool, told: Told
) -> dict[str, Store]:
    for name in parts:
        refuse_store(folder / name, overwrite=overwrite)
    return {
        name: write_store(store.select(part), folder / name, overwrite=overwrite, told=told)
        for name, part in parts.items()
    }


def merge_stores(
    stores: Sequence[Store], folder: str | Path, *, overwrite: bool = False, told: Told = _silent
) -> Store:
    """One store with the shards of several, copied as they are: every frame keeps its level of theory and its origin.

    Refuses (DataError E-MERGE-TWICE) where two stores hold one frame of one file, and (E-MERGE-THEORY) to join frames
    that state their level of theory with frames that state none.
    """
    target = Path(folder).expanduser()
    refuse_store(target, overwrite=overwrite)
    if target.resolve() in [store.folder.resolve() for store in stores]:
        raise OptionError("E-MERGE-TARGET", "a store cannot be merged into itself", fix="give another folder")
    _refuse_twice(stores)
    _refuse_unstated(stores)
    total = sum(len(store) for store in stores)
    shards: list[ShardEntry] = []
    with owned_store(target, overwrite=True):
        for store in stores:
            for entry in store.shards.entries:
                name = shard_name(len(shards))
                with whole_file(target / name) as temporary:
                    shutil.copyfile(store.folder / entry.file, temporary)
                shards.append(replace(entry, file=name))
                told(sum(own.frames for own in shards), total)
        sources = {source.sha256: source for store in stores for source in store.manifest.sources}
        Manifest(tuple(shards), tuple(sources.values()), finished=True).write(target)
    return open_store(target, verify="all")


def _refuse_twice(stores: Sequence[Store]) -> None:
    """Frames are the same where they are of one file and one number in it; stores that share no file share none."""
    made_of = [{source.sha256 for source in store.manifest.sources} for store in stores]
    hashes = {source.path: source.sha256 for store in stores for source in store.manifest.sources}
    seen: dict[tuple[str | None, int | None], Store] = {}
    for i, store in enumerate(stores):
        others = set().union(*(own for j, own in enumerate(made_of) if j != i))
        if not made_of[i] & others:
            continue
        for shard, row in store.rows():
            provenance = shard.provenance(row)
            file = hashes.get(provenance.file or "", provenance.file)
            owner = seen.setdefault((file, provenance.frame), store)
            if owner is not store:
                raise DataError(
                    "E-MERGE-TWICE",
                    f"the frame is in {owner.folder} and in {store.folder}",
                    why="it would count twice, and might fall on both sides of a split",
                    fix="leave one of the stores out",
                    file=provenance.file,
                    frame=provenance.frame,
                )


def _refuse_unstated(stores: Sequence[Store]) -> None:
    stated = [store for store in stores if store.statistics.levels]
    unstated = [store for store in stores if store.statistics.unstated]
    if stated and unstated:
        raise DataError(
            "E-MERGE-THEORY",
            f"{stated[0].folder} states its level of theory and {unstated[0].folder} has frames that state none",
            why="energies of unknown origin would stand beside known ones",
            fix="import its files again with --theory",
        )


def refuse_store(folder: Path, *, overwrite: bool) -> None:
    """A store that is there is somebody's."""
    if is_store(folder) and not overwrite:
        raise RunError(
            "E-OUTPUT-EXISTS",
            "the folder holds a store",
            why="a finished result would be lost",
            fix="give another folder, or allow overwriting (overwrite=True, --overwrite)",
            file=str(folder),
        )
