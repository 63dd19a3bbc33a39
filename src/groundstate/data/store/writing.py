"""Writing a shard: rows become columns, columns one Arrow file, whole or not at all. Its layout: see `shard`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from groundstate.atoms import LevelOfTheory
from groundstate.data.files import whole_file
from groundstate.data.record import Provenance, Record
from groundstate.data.split import fingerprint
from groundstate.data.store.columns import Columns, Filled, Values, row_of
from groundstate.data.store.shard import FORMAT, METADATA, STATISTICS, Shard, ShardEntry, pyarrow, sha256_of
from groundstate.data.store.statistics import statistics_of


class ShardWriter:
    """Records gathered for one shard."""

    def __init__(self) -> None:
        self._columns = Columns()
        self._levels: dict[LevelOfTheory, int] = {}
        self._provenance: list[Provenance] = []

    @property
    def n_frames(self) -> int:
        """Records gathered."""
        return self._columns.n_frames

    @property
    def n_bytes(self) -> int:
        """Of the numbers gathered."""
        return self._columns.n_bytes

    def add(self, record: Record) -> None:
        """Append one record."""
        row = row_of(record)
        row["fingerprint"] = np.array(int(fingerprint(record.system), 16), dtype=np.uint64)
        self._append(row, record.theory, record.provenance)

    def copy(self, shard: Shard, frame: int) -> None:
        """Append one record of another shard, as it stands there."""
        row = {name: value for name, column in shard.columns.items() if (value := column.of(frame)) is not None}
        self._append(row, shard.level(frame), shard.provenance(frame))

    def _append(self, row: dict[str, Values], level: LevelOfTheory | None, provenance: Provenance) -> None:
        row.pop("level", None)
        if level is not None:
            row["level"] = np.array(self._levels.setdefault(level, len(self._levels)))
        self._columns.add(row)
        self._provenance.append(provenance)

    def write(self, folder: Path, name: str) -> ShardEntry:
        """Write what was gathered as `name` in `folder`, whole or not at all; it is handed over and not kept."""
        pa = pyarrow()
        filled, provenance, levels = self._columns.fill(), self._provenance, list(self._levels)
        n_frames = len(provenance)
        files, keys = [own.file for own in provenance], [own.keys for own in provenance]
        statistics = statistics_of(filled, levels, keys, files)
        arrays = {column: _to_arrow(pa, values, n_frames) for column, values in filled.items()}
        arrays["file"] = pa.array(files, pa.string()).dictionary_encode()
        arrays["keys"] = pa.array([_json(own) for own in keys], pa.string()).dictionary_encode()
        arrays["tags"] = pa.array([_json(own.tags) if own.tags else "" for own in provenance], pa.string())
        about = {
            "format": FORMAT,
            "levels": [level.as_dict() for level in levels],
        }
        schema = pa.schema(
            [pa.field(column, array.type) for column, array in arrays.items()],
            metadata={METADATA: _json(about), STATISTICS: _json(statistics.as_dict())},
        )
        batch = pa.record_batch(list(arrays.values()), schema=schema)
        with whole_file(folder / name) as temporary:
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                writer.write_batch(batch)
            size, digest = temporary.stat().st_size, sha256_of(temporary)
        return ShardEntry(name, n_frames, statistics.atoms, size, digest)


def _json(record: Any) -> str:
    return json.dumps(record if isinstance(record, dict) else dict(record), ensure_ascii=False, allow_nan=False)


def _to_arrow(pa: Any, filled: Filled, n_frames: int) -> Any:
    column = filled.column
    number = pa.from_numpy_dtype(np.dtype(column.dtype))
    bits = None
    if filled.present is not None:
        bits = pa.py_buffer(np.packbits(filled.present, bitorder="little"))
    data = pa.Array.from_buffers(number, filled.values.size, [None, pa.py_buffer(filled.values)])
    if column.per == "system":
        if not column.shape:
            return pa.Array.from_buffers(number, n_frames, [bits, pa.py_buffer(filled.values)])
        return pa.Array.from_buffers(pa.list_(number, column.width), n_frames, [bits], children=[data])
    if column.shape:
        rows = filled.values.size // column.width
        data = pa.Array.from_buffers(pa.list_(number, column.width), rows, [None], children=[data])
    assert filled.offsets is not None
    return pa.Array.from_buffers(pa.list_(data.type), n_frames, [bits, pa.py_buffer(filled.offsets)], children=[data])
