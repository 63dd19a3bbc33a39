"""The table a reader prints: which key became which quantity, in how many frames, with what values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groundstate.atoms import Quantity, quantities
from groundstate.data.record import Record


@dataclass(frozen=True)
class LabelRow:
    """One quantity of a data set.

    keys: key → frames that were read under it · statistics over frames that have it: of scalars the values, of vectors
    and tensors the norms; of the energy per atom. unit belongs to the statistics.
    """

    quantity: str
    keys: Mapping[str, int]
    frames: int
    total: int
    minimum: float
    median: float
    maximum: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class LabelReport:
    """What was read from a data set, and what was not."""

    rows: tuple[LabelRow, ...]
    total: int
    notes: tuple[str, ...] = ()

    def as_table(self) -> list[dict[str, str]]:
        """One dictionary of printed cells per quantity, ready for any table."""
        return [
            {
                "quantity": row.quantity,
                "key": ", ".join(row.keys),
                "frames": f"{row.frames}/{row.total}",
                "min": f"{row.minimum:.6g}",
                "median": f"{row.median:.6g}",
                "max": f"{row.maximum:.6g}",
                "unit": row.unit,
                "note": row.note,
            }
            for row in self.rows
        ]

    def as_text(self) -> str:
        """The table and the notes in plain text."""
        table = self.as_table()
        titles = list(table[0]) if table else []
        widths = {title: max(len(title), *(len(cells[title]) for cells in table)) for title in titles}
        lines = ["  ".join(title.ljust(widths[title]) for title in titles).rstrip()] if table else []
        lines += ["  ".join(cells[title].ljust(widths[title]) for title in titles).rstrip() for cells in table]
        lines = lines or [f"{self.total} frames, no labels"]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def report_of(
    records: Sequence[Record], notes: Mapping[str, int], unread: Mapping[tuple[str, str], int]
) -> LabelReport:
    """Statistics of a data set; `notes` and `unread` (quantity, key) count frames."""
    rows = []
    for name, row in quantities().items():
        labelled = [record for record in records if name in record.labels]
        if labelled:
            rows.append(_row(row, labelled, len(records)))
    return LabelReport(tuple(rows), len(records), tuple(note_lines(notes, unread)))


def note_lines(notes: Mapping[str, int], unread: Mapping[tuple[str, str], int]) -> list[str]:
    """Notes and unread labels (quantity, key), each with the frames it concerns, as sentences."""
    return [f"{text} ({_frames(count)})" for text, count in notes.items()] + [
        f"no {name} was read in {_frames(count)} although '{key}' looks like it: {proposal(name, key)}"
        for (name, key), count in unread.items()
    ]


def proposal(name: str, key: str) -> str:
    """The argument that would read a key as a quantity."""
    convention = ", stress_convention='ase' or another" if name == "stress" else ""
    return f"keys={{'{name}': '{key}'}}{convention}"


def _frames(count: int) -> str:
    return f"{count} frame" + ("" if count == 1 else "s")


def _row(row: Quantity, labelled: Sequence[Record], total: int) -> LabelRow:
    values = torch.cat([_measure(row, record) for record in labelled])
    keys = Counter(record.provenance.keys.get(row.name, "") for record in labelled)
    per_atom = "/atom" if row.extensive and row.shape == () else ""
    note = "norm" if row.shape else ""
    if len(keys) > 1:
        note = "; ".join([*filter(None, [note]), "several keys: " + ", ".join(f"{k} {n}" for k, n in keys.items())])
    return LabelRow(
        row.name,
        dict(keys),
        len(labelled),
        total,
        float(values.min()),
        float(values.median()),
        float(values.max()),
        row.unit + per_atom,
        note,
    )


def _measure(row: Quantity, record: Record) -> Tensor:
    label = record.labels[row.name]
    if row.extensive and row.shape == ():
        return (label / record.n_atoms).reshape(1)
    if row.shape == ():
        return label.reshape(-1)
    return torch.linalg.vector_norm(label.reshape(-1, quantity_size(row)), dim=1)


def quantity_size(row: Quantity) -> int:
    """Numbers per atom or per system."""
    size = 1
    for axis in row.shape:
        size *= axis
    return size
