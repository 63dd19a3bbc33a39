"""A store of records on disk that is a sequence of records: any of them at once, none of them in memory.

    manifest.json        shards with frames, sizes and checksums; the files they came from
    shard-00000.arrow    see `shard`

`store[i]` maps the shard it lies in and makes one record of views into the map. What needs one number of every frame
(sizes for planning batches, fingerprints, levels of theory) reads that column alone. `collate` makes a batch from
columns without making records. Checked: tests/data/store/
"""

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms import DataError, LevelOfTheory, OptionError, nearest
from groundstate.data.batch import Batch
from groundstate.data.record import LazyRecords, Record
from groundstate.data.report import LabelReport, note_lines
from groundstate.data.store.batches import gather
from groundstate.data.store.manifest import Manifest, digest_of, is_store, read_manifest
from groundstate.data.store.shard import WRONG_CHECKSUM, Shard, ShardEntry, damaged, open_shard, sha256_of, sizes_differ
from groundstate.data.store.statistics import Statistics, total

OPEN_SHARDS = 256
"""Shards kept mapped: below the files a process may open, and enough that random access rarely maps one anew."""


def open_store(folder: str | Path, *, salvage: bool = False, verify: str = "size") -> "Store":
    """The records of a store.

    verify: "size" compares sizes now, "touch" also the checksum of a shard when it is first used, "all" every checksum
    now · salvage: leave out shards that are damaged, and what an import did not finish, instead of refusing them; what
    was left out stands in `notes`.

    Raises DataError E-STORE-MISSING, E-STORE-UNFINISHED, E-STORE-DAMAGED and what `read_manifest` raises.
    """
    path = Path(folder).expanduser()
    if verify not in ("size", "touch", "all"):
        raise OptionError("E-OPTION", f"verify='{verify}' is unknown", fix=nearest(verify, ("size", "touch", "all")))
    if not is_store(path):
        raise DataError(
            "E-STORE-MISSING",
            "the folder holds no store",
            fix="make one with `groundstate data import`",
            file=str(path),
        )
    manifest = read_manifest(path)
    notes: list[str] = []
    if not manifest.finished:
        unfinished = [source for source in manifest.sources if not source.finished]
        named = ", ".join(f"{source.path} ({source.kept} frames so far)" for source in unfinished[:4])
        if not salvage:
            raise DataError(
                "E-STORE-UNFINISHED",
                f"an import into the store did not finish: {named or 'no file was read to its end'}",
                why="a part of a data set looks like a whole one",
                fix="repeat the import, which goes on where it stopped; salvage=True (--salvage) takes what is there",
                file=str(path),
            )
        notes.append(f"an import did not finish: {named}")
    entries: list[ShardEntry] = []
    for entry in manifest.shards:
        problem = sizes_differ(path, entry)
        if problem is None and verify == "all" and sha256_of(path / entry.file) != entry.sha256:
            problem = damaged(path / entry.file, entry.frames, WRONG_CHECKSUM)
        if problem is None and salvage:
            problem = _unopenable(path, entry)
        if problem is None:
            entries.append(entry)
        elif salvage:
            notes.append(f"left out: {problem.what}")
        else:
            raise problem
    return Store(Shards(path, tuple(entries), verify=verify == "touch"), None, manifest, tuple(notes))


def _unopenable(path: Path, entry: ShardEntry) -> DataError | None:
    try:
        open_shard(path / entry.file, entry, verify=False)
    except DataError as error:
        return error
    return None


class Shards:
    """The shards of one store, mapped as they are used, and columns of all of them."""

    def __init__(self, folder: Path, entries: tuple[ShardEntry, ...], *, verify: bool = False) -> None:
        self.folder, self.entries, self.verify = folder, entries, verify
        self.starts = [0, *accumulate(entry.frames for entry in entries)]
        self._verified: set[int] = set()
        self._open: OrderedDict[int, Shard] = OrderedDict()

    def __len__(self) -> int:
        return self.starts[-1]

    def open(self, k: int, *, keep: bool = True) -> Shard:
        """Shard `k`, mapped; it stays so while it is among the last used, unless `keep` is false."""
        shard = self._open.get(k)
        if shard is not None:
            self._open.move_to_end(k)
            return shard
        entry = self.entries[k]
        shard = open_shard(self.folder / entry.file, entry, verify=self.verify and k not in self._verified)
        self._verified.add(k)
        if keep:
            self._open[k] = shard
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        return shard

    def column(self, values: Callable[[Shard], NDArray[Any]], dtype: type) -> NDArray[Any]:
        """One number of every frame, shard after shard."""
        parts = [values(self.open(k, keep=False)) for k in range(len(self.entries))]
        return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)

    @cached_property
    def atom_counts(self) -> NDArray[np.int64]:
        """Atoms of every frame."""
        return self.column(lambda shard: shard.atom_counts, np.int64)

    @cached_property
    def fingerprints(self) -> NDArray[np.uint64]:
        """Fingerprint of every structure."""
        return self.column(lambda shard: shard.columns["fingerprint"].values, np.uint64)

    @cached_property
    def levels(self) -> tuple[list[LevelOfTheory], NDArray[np.int32]]:
        """The levels of theory, and for every frame the place of its own; −1 where it names none."""
        table: dict[LevelOfTheory, int] = {}

        def places(shard: Shard) -> NDArray[np.int64]:
            own = [table.setdefault(level, len(table)) for level in shard.levels]
            # The last entry answers to −1, a frame without a level.
            of_index = np.array([*own, -1], dtype=np.int64)
            return of_index[shard.level_indices]

        indices = self.column(places, np.int32)
        return list(table), indices

    @cached_property
    def statistics(self) -> Statistics:
        """Of all shards."""
        return total(self.open(k, keep=False).statistics for k in range(len(self.entries)))


class Store(LazyRecords):
    """Records of a store, all of them or a selection."""

    def __init__(
        self, shards: Shards, index: NDArray[np.int64] | None, manifest: Manifest, notes: tuple[str, ...] = ()
    ) -> None:
        self.shards, self.manifest, self.notes = shards, manifest, notes
        self._index = index

    @property
    def folder(self) -> Path:
        """Where the store lies."""
        return self.shards.folder

    # A sequence

    def __len__(self) -> int:
        return len(self.shards) if self._index is None else len(self._index)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> "Store": ...

    def __getitem__(self, index: "int | slice") -> "Record | Store":
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        k, frame = self._place(index)
        return self.shards.open(k).record(frame)

    def __iter__(self) -> Iterator[Record]:
        if self._index is not None:
            yield from (shard.record(frame) for shard, frame in self.rows())
            return
        # A shard at a time, let go when the next one comes: the memory of a pass does not grow with the store.
        for k, entry in enumerate(self.shards.entries):
            shard = self.shards.open(k, keep=False)
            for frame in range(entry.frames):
                yield shard.record(frame)

    def rows(self) -> Iterator[tuple[Shard, int]]:
        """Shard and frame in it of each record, in order; where that is the order on disk, one shard is mapped."""
        shuffled = self._index is not None and bool((np.diff(self._index) < 0).any())
        last, shard = -1, None
        for i in range(len(self)):
            k, frame = self._place(i)
            if k != last or shard is None:
                last, shard = k, self.shards.open(k, keep=shuffled)
            yield shard, frame

    def _place(self, index: int) -> tuple[int, int]:
        """Shard and frame in it."""
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"record {index} of {n}")
        place = index % n if self._index is None else int(self._index[index])
        k = bisect_right(self.shards.starts, place) - 1
        return k, place - self.shards.starts[k]

    def select(self, indices: "Sequence[int] | NDArray[np.int64]") -> "Store":
        """The chosen records, in that order; nothing is read."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Store(self.shards, chosen if self._index is None else self._index[chosen], self.manifest, self.notes)

    # Columns

    def _own(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self._index is None else values[self._index]

    @property
    def atom_counts(self) -> NDArray[np.int64]:
        """Atoms of each record."""
        return self._own(self.shards.atom_counts)

    @property
    def fingerprints(self) -> NDArray[np.uint64]:
        """Fingerprint of each structure, as `split.fingerprint`."""
        return self._own(self.shards.fingerprints)

    @property
    def level_indices(self) -> NDArray[np.int32]:
        """Place of each record's level of theory in `shards.levels`; −1 where it names none."""
        return self._own(self.shards.levels[1])

    @property
    def levels(self) -> tuple[LevelOfTheory, ...]:
        """Levels of theory among the records."""
        table = self.shards.levels[0]
        return tuple(table[i] for i in np.unique(self.level_indices).tolist() if i >= 0)

    @cached_property
    def elements(self) -> dict[int, tuple[int, int]]:
        """Atomic number → (records with it, the first of them)."""
        found: dict[int, tuple[int, int]] = {}
        for positions, shard, frames in self._by_shard():
            z, record = self._elements_of(shard, frames)
            for number in np.unique(z).tolist():
                own = positions[np.unique(record[z == number])]
                count, first = found.get(number, (0, len(self)))
                found[number] = (count + len(own), min(first, int(own.min())))
        return dict(sorted(found.items()))

    @staticmethod
    def _elements_of(shard: Shard, frames: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Atomic numbers of frames, and for each the place of its frame in `frames`."""
        numbers, offsets = shard.columns["numbers"].values, shard.offsets
        parts = [numbers[offsets[frame] : offsets[frame + 1]] for frame in frames]
        return np.concatenate(parts), np.repeat(np.arange(len(frames)), [len(part) for part in parts])

    def _by_shard(self) -> Iterator[tuple[NDArray[np.int64], Shard, NDArray[np.int64]]]:
        """Shards that hold records of this store: (places in this store, shard, frames in the shard)."""
        places = np.arange(len(self.shards)) if self._index is None else self._index
        owner = np.searchsorted(self.shards.starts, places, side="right") - 1
        order = np.argsort(owner, kind="stable")
        different, first = np.unique(owner[order], return_index=True)
        for k, own in zip(different.tolist(), np.split(order, first[1:]), strict=True):
            yield own, self.shards.open(k, keep=False), places[own] - self.shards.starts[k]

    @property
    def statistics(self) -> Statistics:
        """What the whole store holds, gathered when it was written; of a selection nothing was gathered."""
        return self.shards.statistics

    def report(self) -> LabelReport:
        """The table of labels, as a reader prints it, and what was noted on import and on opening."""
        notes, unread = Counter[str](), Counter[tuple[str, str]]()
        for source in self.manifest.sources:
            notes.update(source.tally.get("notes", {}))
            unread.update({(name, key): count for name, key, count in source.tally.get("unread", [])})
        lines = note_lines(notes, unread)
        if sum(source.kept for source in self.manifest.sources) != len(self.shards):
            lines = [f"of the files as a whole: {line}" for line in lines]
        return self.statistics.report([*self.notes, *lines])

    @property
    def digest(self) -> str:
        """A hash of the records and their order: of the shards' checksums and the selection."""
        own = replace(self.manifest, shards=self.shards.entries)
        return digest_of(own, b"" if self._index is None else self._index.tobytes())

    # Batches

    def collate(self, indices: Sequence[int]) -> Batch:
        """The batch of the chosen records, equal to `collate` of them, gathered from columns without making records."""
        places = [self._place(i) for i in indices]
        return gather([(self.shards.open(k), frame) for k, frame in places])

    def __reduce__(self) -> Any:
        # A process that is started anew maps the files for itself.
        return _anew, (self.folder, self.shards.entries, self.shards.verify, self._index, self.manifest, self.notes)


def _anew(
    folder: Path,
    entries: tuple[ShardEntry, ...],
    verify: bool,
    index: NDArray[np.int64] | None,
    manifest: Manifest,
    notes: tuple[str, ...],
) -> Store:
    return Store(Shards(folder, entries, verify=verify), index, manifest, notes)
