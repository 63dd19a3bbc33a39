"""One shard: an Arrow IPC file with one record batch, written whole, read through a memory map without a copy.

    list<…> columns per atom, fixed-size lists per frame, null where a value was not given; see `columns`
    file, keys   dictionary-encoded text: where a frame was read, and quantity → key as JSON
    tags         JSON text: what else the file said of the frame

The schema's metadata hold the shard's levels of theory and its statistics, so that a shard explains itself.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from groundstate.atoms import DataError, LevelOfTheory, System
from groundstate.data.convert import missing_extra
from groundstate.data.record import Provenance, Record
from groundstate.data.store.columns import LABEL, Column, Values, known, standard_masses
from groundstate.data.store.statistics import Statistics

METADATA, STATISTICS = b"groundstate", b"groundstate.statistics"
WRONG_CHECKSUM = "its checksum (sha256) is not the one it was written with"
FORMAT = 1


@dataclass(frozen=True)
class ShardEntry:
    """What a manifest says of a shard."""

    file: str
    frames: int
    atoms: int
    bytes: int
    sha256: str


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, eq=False)
class Mapped:
    """A column in the map. values [frame or atom, …] · present [frame] or `None` where all are · offsets in atoms."""

    column: Column
    values: Values
    present: NDArray[np.bool_] | None
    offsets: NDArray[np.int32] | None

    def of(self, frame: int) -> Values | None:
        """The values of one frame; `None` where it has none."""
        if self.present is not None and not self.present[frame]:
            return None
        if self.offsets is None:
            return self.values[frame : frame + 1]
        return self.values[self.offsets[frame] : self.offsets[frame + 1]]


class Shard:
    """A shard under a memory map. Its tensors are the map itself: nothing is read before it is used.

    The map is private: writing into a tensor changes the memory of this process and never the file.
    """

    def __init__(self, path: Path) -> None:
        pa = pyarrow()
        with path.open("rb") as stream:
            held = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        base = np.frombuffer(held, dtype=np.uint8)
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(held)))
        about = json.loads(reader.schema.metadata[METADATA])
        if reader.num_record_batches != 1:
            raise ValueError(f"{reader.num_record_batches} record batches instead of one")
        batch = reader.get_batch(0)
        batch.validate()
        view = _View(base)
        self.path = path
        self.n_frames: int = batch.num_rows
        self.levels = tuple(LevelOfTheory.from_dict(level) for level in about["levels"])
        self._statistics: bytes = reader.schema.metadata[STATISTICS]
        self.columns: dict[str, Mapped] = {
            name: view.mapped(column, batch.column(name))
            for name, column in known().items()
            if name in batch.schema.names
        }
        self._files: list[str | None] = [*batch.column("file").dictionary.to_pylist(), None]
        self._keys = [json.loads(text) for text in batch.column("keys").dictionary.to_pylist()]
        self._file_of = view.indices(batch.column("file"), len(self._files) - 1)
        self._keys_of = view.indices(batch.column("keys"), len(self._keys))
        self._tag_ends, self._tag_bytes = view.text(batch.column("tags"))
        self.offsets = _offsets_of_all(self.columns)
        self.level_indices = self._integers("level", -1)
        if self.n_frames and int(self.level_indices.max()) >= len(self.levels):
            raise ValueError("a frame has a level of theory that is not in the table")
        self._frame_of = self._integers("frame", -1)
        self._positions, self._numbers = self.columns["positions"].values, self.columns["numbers"].values
        self._cell, self._pbc = self.columns["cell"].values, self.columns["pbc"].values.view(np.bool_)
        self._standard, self._masses = standard_masses(), self.columns.get("masses")
        if len(self._numbers) and int(self._numbers.max()) >= len(self._standard):
            raise ValueError("an atomic number is no element's")
        self._optional = [(name, column) for name, column in self.columns.items() if name in _OPTIONAL]
        self._labels = [
            (name.removeprefix(LABEL), column) for name, column in self.columns.items() if name.startswith(LABEL)
        ]

    def _integers(self, name: str, absent: int) -> NDArray[np.int64]:
        """A column of one integer per frame, with a stand-in where it is null."""
        column = self.columns.get(name)
        if column is None:
            return np.full(self.n_frames, absent)
        values = column.values.astype(np.int64)
        return values if column.present is None else np.where(column.present, values, absent)

    @cached_property
    def statistics(self) -> Statistics:
        """What the shard holds, gathered when it was written."""
        return Statistics.from_dict(json.loads(self._statistics))

    @property
    def atom_counts(self) -> NDArray[np.int64]:
        """Atoms of each frame."""
        return np.diff(self.offsets).astype(np.int64)

    def record(self, frame: int) -> Record:
        """One record; its tensors share the map's memory."""
        tensor = torch.from_numpy
        start, stop = self.offsets[frame], self.offsets[frame + 1]
        numbers = self._numbers[start:stop]
        masses = None if self._masses is None else self._masses.of(frame)
        system = System(
            tensor(self._positions[start:stop]),
            tensor(numbers.astype(np.int64)),
            tensor(np.array((0, stop - start), dtype=np.int64)),
            tensor(self._cell[frame : frame + 1]),
            tensor(self._pbc[frame : frame + 1]),
            tensor(self._standard[numbers] if masses is None else masses),
            **{name: tensor(value) for name, column in self._optional if (value := column.of(frame)) is not None},
        )
        labels = {
            name: tensor(value if column.offsets is not None else value.reshape(column.column.shape))
            for name, column in self._labels
            if (value := column.of(frame)) is not None
        }
        return Record(system, labels, self.level(frame), self.provenance(frame))

    def level(self, frame: int) -> LevelOfTheory | None:
        """A frame's level of theory; `None` where it names none."""
        index = self.level_indices[frame]
        return None if index < 0 else self.levels[index]

    def provenance(self, frame: int) -> Provenance:
        """Where a frame came from."""
        number = int(self._frame_of[frame])
        first, end = self._tag_ends[frame], self._tag_ends[frame + 1]
        return Provenance(
            self._files[self._file_of[frame]],
            None if number < 0 else number,
            self._keys[self._keys_of[frame]],
            _Tags(self._tag_bytes[first:end].tobytes()) if first != end else {},
        )


_OPTIONAL = frozenset({"charge", "multiplicity", "theory", "moments", "field", "electrode_potential"})


def _offsets_of_all(columns: Mapping[str, Mapped]) -> NDArray[np.int32]:
    """Where the atoms of each frame begin, the same in every column."""
    offsets = columns["positions"].offsets
    assert offsets is not None
    counts = np.diff(offsets)
    for name, column in columns.items():
        if column.offsets is not None:
            own = np.diff(column.offsets)
            expected = counts if column.present is None else np.where(column.present, counts, 0)
            if not np.array_equal(own, expected):
                raise ValueError(f"'{name}' has other numbers of atoms than 'positions'")
    return offsets


class _Tags(Mapping[str, str]):
    """Tags that are taken apart when somebody looks: most who read frames never do."""

    __slots__ = ("_known", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._known: dict[str, str] | None = None

    def _tags(self) -> dict[str, str]:
        if self._known is None:
            self._known = json.loads(self._text)
        return self._known

    def __getitem__(self, name: str) -> str:
        return self._tags()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tags())

    def __len__(self) -> int:
        return len(self._tags())

    def __repr__(self) -> str:
        return repr(self._tags())


class _View:
    """Columns of a batch as writable arrays over the map that holds it."""

    def __init__(self, base: NDArray[np.uint8]) -> None:
        self._base, self._address = base, base.ctypes.data

    def _array(self, buffer: Any, dtype: str, count: int) -> Values:
        if count == 0:
            # Arrow keeps no place for nothing.
            return np.zeros(0, dtype)
        start = buffer.address - self._address
        stop = start + count * np.dtype(dtype).itemsize
        if not 0 <= start <= stop <= len(self._base):
            raise ValueError("a column lies outside the file")
        return self._base[start:stop].view(dtype)

    def _present(self, array: Any) -> NDArray[np.bool_] | None:
        bits = array.buffers()[0]
        if bits is None or array.null_count == 0:
            return None
        packed: Any = self._array(bits, "|u1", -(-len(array) // 8))
        return np.unpackbits(packed, count=len(array), bitorder="little").astype(bool)

    def mapped(self, column: Column, array: Any) -> Mapped:
        """A column of numbers."""
        n_frames, buffers = len(array), array.buffers()
        if column.per == "system":
            values = self._array(buffers[-1], column.dtype, n_frames * column.width)
            return Mapped(column, column.shaped(values, n_frames), self._present(array), None)
        offsets: Any = self._array(buffers[1], "<i4", n_frames + 1)
        if n_frames and (offsets[0] != 0 or (np.diff(offsets) < 0).any()):
            raise ValueError(f"the rows of '{column.name}' are out of order")
        n_atoms = int(offsets[-1])
        values = self._array(buffers[-1], column.dtype, n_atoms * column.width)
        return Mapped(column, column.shaped(values, n_atoms), self._present(array), offsets)

    def indices(self, array: Any, size: int) -> NDArray[np.int32]:
        """Places in the dictionary, of `size` entries, of an encoded column of text; −1 for null."""
        values: Any = self._array(array.indices.buffers()[1], "<i4", len(array))
        present = self._present(array.indices)
        places = values if present is None else np.where(present, values, -1)
        if len(places) and not -1 <= int(places.min()) <= int(places.max()) < size:
            raise ValueError("a text is not in the dictionary")
        return places

    def text(self, array: Any) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Ends and bytes of a column of text."""
        _, ends, data = array.buffers()
        offsets: Any = self._array(ends, "<i4", len(array) + 1)
        if offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError("texts are out of order")
        empty = np.zeros(0, dtype=np.uint8)
        content: Any = empty if data is None else self._array(data, "|u1", int(offsets[-1]))
        return offsets, content


def damaged(path: Path, frames: int, reason: str) -> DataError:
    """The refusal of a shard that cannot be trusted."""
    return DataError(
        "E-STORE-DAMAGED",
        f"shard {path.name} with {frames} frames cannot be used: {reason}",
        why="its numbers may be any numbers; the other shards are whole",
        fix="copy the shard again or import its files again; salvage=True (--salvage) leaves its frames out",
        file=str(path.parent),
    )


def open_shard(path: Path, entry: ShardEntry, *, verify: bool) -> Shard:
    """A shard as the manifest describes it; DataError E-STORE-DAMAGED where it is not.

    verify: compare its checksum, too. Size and the layout of its columns are always compared.
    """
    if reason := _difference(path, entry, verify):
        raise damaged(path, entry.frames, reason)
    try:
        shard = Shard(path)
    except pyarrow().ArrowException as error:
        raise damaged(path, entry.frames, str(error)) from error
    except (AssertionError, KeyError, OSError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise damaged(path, entry.frames, f"{type(error).__name__}: {error}") from error
    if shard.n_frames != entry.frames:
        raise damaged(path, entry.frames, f"it holds {shard.n_frames} frames")
    return shard


def _difference(path: Path, entry: ShardEntry, verify: bool) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        return "the file is missing"
    if size != entry.bytes:
        return f"it has {size} bytes instead of {entry.bytes}"
    if verify and sha256_of(path) != entry.sha256:
        return WRONG_CHECKSUM
    return ""


def sizes_differ(folder: Path, entry: ShardEntry) -> DataError | None:
    """The refusal of a shard that is missing or has another size, told without opening it."""
    reason = _difference(folder / entry.file, entry, verify=False)
    return damaged(folder / entry.file, entry.frames, reason) if reason else None


def pyarrow() -> Any:
    """The package, or the refusal that names the extra it comes with."""
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        raise missing_extra("store", "a store of frames") from None
    return pa
