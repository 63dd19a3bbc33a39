"""Lists of frames to leave out: what an examination writes, and training obeys."""

from collections.abc import Sequence
from pathlib import Path

from groundstate.atoms import DataError
from groundstate.data.files import write_whole
from groundstate.data.record import Record, chosen

_HEAD = "# frames to leave out: frame number, tab, file\n"


def write_exclusions(records: Sequence[Record], excluded: Sequence[int], path: Path) -> None:
    """The records of these indices, one to a line: their frame's number and their file, as they were read."""
    lines = ["\t".join(map(str, _place(records[i], i))) + "\n" for i in excluded]
    write_whole(path, "".join([_HEAD, *lines]).encode())


def without(records: Sequence[Record], path: Path) -> Sequence[Record]:
    """The records that a list does not name.

    Lines without a tab name frames of whatever file. Raises DataError for a line that cannot be read or that names no
    record: it was written for other data, and what it was to keep out would be learned.
    """
    listed = _listed(path)
    found: set[tuple[int, str | None]] = set()
    kept = []
    for i, record in enumerate(records):
        frame, file = _place(record, i)
        named = listed.keys() & {(frame, file), (frame, None)}
        found |= named
        if not named:
            kept.append(i)
    for (frame, wanted), line in listed.items():
        if (frame, wanted) not in found:
            what = f"frame {frame}{f' of {wanted}' if wanted else ''} is not among the {len(records)} frames"
            raise _unread(path, line, what, "give the list that was written for these data, or take the line out")
    return chosen(records, kept)


def _listed(path: Path) -> dict[tuple[int, str | None], int]:
    """Frame and file (`None`: any) → line of the list."""
    found: dict[tuple[int, str | None], int] = {}
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if text.strip() and not text.startswith("#"):
            frame, _, file = text.partition("\t")
            if not frame.strip().isdecimal():
                raise _unread(
                    path, line, f"'{text}' does not begin with a number", "write a frame number, a tab, a file"
                )
            found[int(frame), file or None] = line
    return found


def _place(record: Record, index: int) -> tuple[int, str]:
    place = record.provenance
    return (index if place.frame is None else place.frame), place.file or ""


def _unread(path: Path, line: int, what: str, fix: str) -> DataError:
    why = "a frame that was to be left out would be learned"
    return DataError("E-EXCLUDE", what, file=f"{path}, line {line}", why=why, fix=fix)
