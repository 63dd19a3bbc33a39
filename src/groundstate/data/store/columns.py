"""The columns of a store: what of a record is written, in which shape, and how rows become columns.

A column has one value per frame or one per atom. Values that were not given or not computed are null: their place is
marked in a mask of its own, never by a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from groundstate.atoms import DataError, quantities
from groundstate.atoms.elements import periodic_table
from groundstate.data.record import Record

Values = NDArray[np.generic]

LABEL = "label."
"""Prefix of the columns that hold labels; the rest of the name is the quantity's."""


@dataclass(frozen=True)
class Column:
    """One column: per frame ("system") or per atom, the axes after that, type of number, and whether it may be null."""

    name: str
    per: Literal["system", "atom"]
    shape: tuple[int, ...]
    dtype: str
    nullable: bool = True

    @property
    def width(self) -> int:
        """Numbers per frame or per atom."""
        return int(np.prod(self.shape, dtype=int))

    def shaped(self, flat: Values, n_rows: int) -> Values:
        """Rows of the column with their axes."""
        return flat.reshape(n_rows, *self.shape)


STRUCTURE: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("positions", "atom", (3,), "<f8", nullable=False),
        Column("numbers", "atom", (), "|u1", nullable=False),
        Column("cell", "system", (3, 3), "<f8", nullable=False),
        Column("pbc", "system", (3,), "|u1", nullable=False),
        Column("masses", "atom", (), "<f8"),
        Column("charge", "system", (), "<f8"),
        Column("multiplicity", "system", (), "<i8"),
        Column("theory", "system", (), "<i8"),
        Column("moments", "atom", (3,), "<f8"),
        Column("field", "system", (3,), "<f8"),
        Column("electrode_potential", "system", (), "<f8"),
    )
}
"""The fields of a `System`. Masses are null where they are the standard ones; `theory` is a model's head."""

PROVENANCE: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("level", "system", (), "<i4"),
        Column("frame", "system", (), "<i8"),
        Column("fingerprint", "system", (), "<u8", nullable=False),
    )
}
"""level: place in the shard's table of levels of theory · frame in the file it came from · fingerprint: see `split`."""


@cache
def labels() -> Mapping[str, Column]:
    """Columns of labels, one per quantity of the table but the Hessian, whose size is that of a structure squared."""
    return {
        LABEL + name: Column(LABEL + name, row.per, row.shape, "<f8")
        for name, row in quantities().items()
        if name != "hessian"
    }


@cache
def known() -> Mapping[str, Column]:
    """Every column by name."""
    return {**STRUCTURE, **PROVENANCE, **labels()}


@cache
def standard_masses() -> NDArray[np.float64]:
    """amu by atomic number, 0 for the dummy."""
    return np.array([0.0, *(row.mass for row in periodic_table())])


@dataclass(frozen=True, eq=False)
class Filled:
    """A column of a shard in memory: values of the rows that are present, one after another, and which rows those are.

    present [frame] is `None` where all are · offsets [frame + 1] of a column per atom, in atoms; a null row has none.
    """

    column: Column
    values: Values
    present: NDArray[np.bool_] | None = None
    offsets: NDArray[np.int32] | None = None


def row_of(record: Record) -> dict[str, Values]:
    """The values of one record by column; what it does not have is absent.

    Raises DataError E-RECORD where it holds several structures, E-STORE-QUANTITY where it has a label no column is for.
    """
    system = record.system
    if system.n_systems != 1:
        raise DataError("E-RECORD", f"a record holds one structure, this one holds {system.n_systems}", fix="split it")
    row = {name: _numpy(value) for name in STRUCTURE if (value := getattr(system, name)) is not None}
    if np.array_equal(row["masses"], standard_masses()[row["numbers"]]):
        del row["masses"]
    for name, label in record.labels.items():
        if LABEL + name not in labels():
            raise DataError(
                "E-STORE-QUANTITY",
                f"a store has no column for the label '{name}'",
                why="it would be lost",
                fix="keep it in a file of its own, and leave it out here with keys={'" + name + "': None}",
            )
        row[LABEL + name] = _numpy(label)
    if record.provenance.frame is not None:
        row["frame"] = np.array(record.provenance.frame)
    return row


def _numpy(value: Tensor) -> Values:
    return value.detach().cpu().numpy()


class Columns:
    """Rows gathered into columns until there are enough for a shard."""

    def __init__(self) -> None:
        self.n_frames = 0
        self.n_bytes = 0
        self._parts: dict[str, list[Values]] = {}
        self._rows: dict[str, list[int]] = {}

    def add(self, row: Mapping[str, Values]) -> None:
        """Append one frame."""
        for name, value in row.items():
            column = known()[name]
            part = np.ascontiguousarray(value, dtype=column.dtype).reshape(-1)
            self._parts.setdefault(name, []).append(part)
            self._rows.setdefault(name, []).append(self.n_frames)
            self.n_bytes += part.nbytes
        self.n_frames += 1

    def fill(self) -> dict[str, Filled]:
        """The columns, those that no row has left out; what was gathered is handed over."""
        parts, rows, self._parts, self._rows = self._parts, self._rows, {}, {}
        return {name: self._fill(known()[name], parts.pop(name), rows[name]) for name in known() if name in parts}

    def _fill(self, column: Column, parts: list[Values], rows: list[int]) -> Filled:
        present = np.zeros(self.n_frames, dtype=bool)
        present[rows] = True
        offsets = None
        if column.per == "atom":
            counts = np.zeros(self.n_frames, dtype=np.int64)
            counts[rows] = [part.size // column.width for part in parts]
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
            values = np.concatenate(parts)
        else:
            values = np.zeros(self.n_frames * column.width, dtype=column.dtype)
            values.reshape(self.n_frames, -1)[rows] = np.stack(parts)
        return Filled(column, values, None if present.all() else present, offsets)
