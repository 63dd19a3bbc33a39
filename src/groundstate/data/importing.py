"""Files into a store: a shard at a time, so that memory does not grow; a killed import goes on without duplicates.

After each shard the manifest says how many frames of which file have been taken, so the next run starts there. A
file is known by the hash of its bytes: what has been imported is not imported again, a changed file is another file.
Checked: tests/data/store/test_import.py
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from groundstate.atoms import DataError, GroundstateError, LevelOfTheory, OptionError, RunError, quantity
from groundstate.data.labels import Theories
from groundstate.data.readers import Reading, door, is_source_folder, known_name, outcomes
from groundstate.data.store import (
    Manifest,
    ShardWriter,
    SourceEntry,
    Store,
    is_store,
    open_store,
    owned_store,
    sha256_of,
    shard_name,
)
from groundstate.data.tally import Tally, nothing_in
from groundstate.data.theories import TheoryRule

SHARD_MB = 64.0
"""Size of a shard: some ten thousand frames, written in a second, lost in a kill, small enough to be copied alone."""
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Progress:
    """Where an import is: `file` is being read, `frames` of it so far; `done` of `total` files are finished."""

    file: str
    frames: int
    done: int
    total: int


@dataclass(frozen=True)
class Forecast:
    """What an import will take, in bytes; `disk` is at most that, and `free` what the disk has."""

    memory: int
    disk: int
    free: int


def forecast(files: Sequence[Path], folder: Path, shard_MB: float = SHARD_MB) -> Forecast:
    """Memory and disk an import of these files needs.

    Memory is two copies of a shard's numbers beside the objects they were read into. On disk a number takes 8 bytes:
    mostly less than as text, twice as much as in binary files of float32, and up to ten times a compressed text.
    """
    disk = sum(int(_bytes(file) * _GROWTH.get(file.suffix.lower(), 1.5)) for file in files)
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return Forecast(int(3 * shard_MB * MEGABYTE) + _OBJECTS, disk + MEGABYTE, shutil.disk_usage(place).free)


_GROWTH = {".gz": 10.0, ".bz2": 10.0, ".xz": 10.0, ".h5": 2.5, ".hdf5": 2.5, ".aselmdb": 10.0, ".db": 2.0, "": 2.0}
_OBJECTS = 200 * MEGABYTE
"""Of the interpreter and its libraries."""


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size


def import_files(
    files: Sequence[str | Path],
    folder: str | Path,
    *,
    keys: Mapping[str, str | None] | None = None,
    stress_convention: str | None = None,
    theory: Theories | None = None,
    require: Sequence[str] = (),
    missing: str = "refuse",
    salvage: bool = False,
    shard_MB: float = SHARD_MB,
    overwrite: bool = False,
    check_disk: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Store:
    """Read files into a store, and open it. The same call goes on where a killed one stopped.

    Options as of `read`; what they refuse is refused here as soon as it is seen, and what was written before stays.
    shard_MB: size of a shard · overwrite: delete the store that is in the folder first · check_disk: refuse before the
    start where the disk may not hold the result.

    Raises RunError E-OUTPUT-EXISTS where the folder holds something else, E-DISK-FORECAST, E-RUN-LOCKED; DataError
    E-STORE-OPTIONS where a file was begun with other options, E-STORE-SOURCE-CHANGED where it was changed since.
    """
    if shard_MB <= 0:
        raise OptionError("E-OPTION-RANGE", f"shard_MB is {shard_MB:g}", fix="it must be above 0")
    for name in require:
        quantity(name)
    doors = [door(file, keys, stress_convention, theory, missing) for file in files]
    paths, target = [path for path, _ in doors], Path(folder).expanduser()
    if not doors:
        raise OptionError("E-IMPORT-EMPTY", "no file was given to import", fix="name at least one file")
    if check_disk:
        _refuse_full_disk(forecast(paths, target, shard_MB), target)
    with owned_store(target, overwrite=overwrite) as manifest:
        job = _Import(target, manifest, int(shard_MB * MEGABYTE), salvage, tuple(require), len(doors))
        options = _options(keys, stress_convention, theory)
        for k, (path, reading) in enumerate(doors):
            job.take(path, reading, options, partial(_tell, progress, path, k, len(doors)))
        job.finish()
    return open_store(target)


def _tell(progress: Callable[[Progress], None] | None, path: Path, done: int, total: int, frames: int) -> None:
    if progress is not None:
        progress(Progress(path.name, frames, done, total))


def _options(
    keys: Mapping[str, str | None] | None, stress_convention: str | None, theory: Theories | None
) -> dict[str, Any]:
    """What decides how a frame's labels are read; `missing` and `salvage` only decide what is refused."""
    told: Any = theory
    if isinstance(theory, LevelOfTheory | TheoryRule):
        told = theory.as_dict()
    elif theory is not None:
        told = {name: level.as_dict() for name, level in theory.items()}
    return {"keys": dict(keys or {}), "stress_convention": stress_convention, "theory": told}


class _Import:
    """An import under way: the shard being gathered, and the manifest as it stands on disk."""

    def __init__(
        self, folder: Path, manifest: Manifest, limit: int, salvage: bool, require: tuple[str, ...], total: int
    ) -> None:
        self._folder, self._manifest, self._limit, self._salvage = folder, manifest, limit, salvage
        self._require = require
        self._writer = ShardWriter()
        self._pending: dict[str, SourceEntry] = {}

    def take(self, path: Path, reading: Reading, options: dict[str, Any], tell: Callable[[int], None]) -> None:
        """All frames of one file that are not in the store yet."""
        source = self._source(path, options)
        if source.finished:
            return
        tally = Tally(reading, self._require, path, source.tally or None)
        read, kept = source.read, source.kept
        for outcome in outcomes(path, reading, skip=read):
            read += 1
            if not isinstance(outcome, GroundstateError):
                tally.add(outcome)
                self._writer.add(outcome.record)
                kept += 1
            elif self._salvage:
                tally.left_out(outcome)
            else:
                raise outcome
            if self._writer.n_bytes >= self._limit:
                tally.check()
                self._flush(replace(source, read=read, kept=kept, tally=tally.state()))
            if read % 256 == 0:
                tell(read)
        if kept == 0:
            raise nothing_in(path, tally)
        tally.check(at_end=True)
        tell(read)
        done = replace(source, read=read, kept=kept, tally=tally.state(), finished=True)
        self._pending[source.sha256] = done

    def finish(self) -> None:
        """Write what is left, and say that the store is whole, unless an earlier import left a file half-way."""
        self._flush(None)
        whole = all(source.finished for source in self._manifest.sources)
        self._manifest = replace(self._manifest, finished=whole)
        self._manifest.write(self._folder)

    def _source(self, path: Path, options: dict[str, Any]) -> SourceEntry:
        digest = sha256_of_source(path)
        known = next((own for own in self._manifest.sources if own.sha256 == digest), self._pending.get(digest))
        if known is None:
            begun = [own for own in self._manifest.sources if own.path == str(path) and not own.finished]
            if begun:
                raise DataError(
                    "E-STORE-SOURCE-CHANGED",
                    f"{begun[0].kept} frames of the file were imported before it was changed",
                    why="the frames it has now may be others",
                    fix="import it into another store, or start this one anew with overwrite=True (--overwrite)",
                    file=str(path),
                )
            return SourceEntry(str(path), digest, _bytes(path), options)
        if dict(known.options) != options:
            raise DataError(
                "E-STORE-OPTIONS",
                f"{known.kept} frames of the file are in the store, read with other options: {dict(known.options)}",
                why="its labels would have two meanings",
                fix="use the same options, another store, or overwrite=True (--overwrite)",
                file=str(path),
            )
        return known

    def _flush(self, partial: SourceEntry | None) -> None:
        """Shard first, manifest second: a kill between the two leaves a file that nobody names, and it is removed."""
        if self._writer.n_frames:
            name = shard_name(len(self._manifest.shards))
            writer, self._writer = self._writer, ShardWriter()
            entry = writer.write(self._folder, name)
            self._manifest = replace(self._manifest, shards=(*self._manifest.shards, entry))
        for source in [*self._pending.values(), *filter(None, [partial])]:
            self._manifest = self._manifest.with_source(source)
        self._pending.clear()
        self._manifest = replace(self._manifest, finished=False)
        self._manifest.write(self._folder)


def sha256_of_source(path: Path) -> str:
    """Hash of a file, or of a folder's files and their names."""
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for part in sorted(part for part in path.rglob("*") if part.is_file()):
        digest.update(f"{part.relative_to(path).as_posix()} {sha256_of(part)}\n".encode())
    return digest.hexdigest()


def _refuse_full_disk(need: Forecast, folder: Path) -> None:
    if need.disk > need.free:
        raise RunError(
            "E-DISK-FORECAST",
            f"the store may take {need.disk / 1e9:.2f} GB and the disk has {need.free / 1e9:.2f} GB",
            why="an import that fills the disk stops half-way, and so may other programs",
            fix="give a folder on a larger disk; check_disk=False (--no-check-disk) starts all the same",
            file=str(folder),
        )


def sources_in(path: Path) -> list[Path]:
    """The path itself, or of a folder that is no source as a whole the files in it that readers know, by name."""
    parts = sorted(path.rglob("*")) if path.is_dir() else []
    if stores := [part for part in [path, *parts] if is_store(part)]:
        raise OptionError(
            "E-IMPORT-STORE",
            f"'{stores[0]}' is a store, which has been read already",
            fix="join stores with `groundstate data merge`",
        )
    if not path.is_dir() or is_source_folder(path):
        return [path]
    found = [part for part in parts if is_source_folder(part) or (part.is_file() and known_name(part))]
    if not found:
        raise DataError(
            "E-IMPORT-EMPTY",
            "the folder has no file that a reader knows",
            fix="name the files, or rename them by their format",
            file=str(path),
        )
    return found
