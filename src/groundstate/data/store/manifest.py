"""The list of what a store holds: its shards with checksums, and the files they were read from."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from groundstate.atoms import DataError, RunError
from groundstate.data.files import LOCK, UNFINISHED, owned_folder, write_whole
from groundstate.data.store.shard import ShardEntry

NAME = "manifest.json"
VERSION = 1


@dataclass(frozen=True)
class SourceEntry:
    """One file that was imported.

    read: frames taken from it, good or bad, up to the last shard · kept: of those, written · options: how labels were
    read, see `importing` · tally: what was seen, see `tally`.
    """

    path: str
    sha256: str
    bytes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    read: int = 0
    kept: int = 0
    finished: bool = False
    tally: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a folder holds; `finished` where nothing that was asked for is outstanding."""

    shards: tuple[ShardEntry, ...] = ()
    sources: tuple[SourceEntry, ...] = ()
    finished: bool = False

    def with_source(self, source: SourceEntry) -> "Manifest":
        """The manifest with the entry of one file, by its hash, new or changed."""
        others = [own for own in self.sources if own.sha256 != source.sha256]
        place = next((i for i, own in enumerate(self.sources) if own.sha256 == source.sha256), len(others))
        return replace(self, sources=(*others[:place], source, *others[place:]))

    def write(self, folder: Path) -> None:
        """Put it where readers look, whole."""
        record = {"format": "groundstate store", "version": VERSION, "written_by": version("groundstate")}
        text = json.dumps({**record, **asdict(self)}, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(folder / NAME, text.encode())


def digest_of(manifest: Manifest, selection: bytes = b"") -> str:
    """A hash of a store's records and their order: of its shards' checksums, and of what is selected of them."""
    return hashlib.sha256("".join(entry.sha256 for entry in manifest.shards).encode() + selection).hexdigest()[:16]


def is_store(path: Path) -> bool:
    """Whether a folder holds a store."""
    return (path / NAME).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a store; DataError E-STORE-MANIFEST where it is damaged, E-STORE-VERSION where it is newer."""
    try:
        record = json.loads((folder / NAME).read_bytes())
        if record["format"] != "groundstate store":
            raise ValueError(f"format {record['format']!r}")
        newer = record["version"] > VERSION
        if not newer:
            return Manifest(
                tuple(ShardEntry(**shard) for shard in record["shards"]),
                tuple(SourceEntry(**source) for source in record["sources"]),
                record["finished"],
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            "E-STORE-MANIFEST",
            f"{NAME} cannot be read ({type(error).__name__}: {error})",
            why="it lists the shards and their checksums",
            fix="restore it from a copy, or import the files again",
            file=str(folder),
        ) from error
    raise DataError(
        "E-STORE-VERSION",
        f"the store has version {record['version']} and this program knows up to {VERSION}",
        why=f"it was written by groundstate {record['written_by']}",
        fix="upgrade groundstate",
        file=str(folder),
    )


def shard_name(k: int) -> str:
    """The file name of shard `k`."""
    return f"shard-{k:05d}.arrow"


@contextmanager
def owned_store(folder: Path, *, overwrite: bool = False) -> Iterator[Manifest]:
    """Hold a folder for writing a store into it; gives the manifest of what is there already.

    overwrite: delete the store that is there. Raises RunError E-OUTPUT-EXISTS where the folder holds something else,
    and what `owned_folder` raises.
    """
    _refuse_foreign(folder)
    with owned_folder(folder):
        if overwrite:
            # The manifest goes first: without it the shards are nobody's.
            (folder / NAME).unlink(missing_ok=True)
        manifest = read_manifest(folder) if is_store(folder) else Manifest()
        named = {entry.file for entry in manifest.shards}
        for path in folder.glob("shard-*.arrow"):
            if path.name not in named:
                # Left by a kill between a shard and its place in the manifest.
                path.unlink()
        yield manifest


def _refuse_foreign(folder: Path) -> None:
    if folder.is_file():
        raise RunError("E-OUTPUT-EXISTS", "there is a file of that name", fix="give another folder", file=str(folder))
    if folder.is_dir() and not is_store(folder) and any(not _is_ours(entry.name) for entry in folder.iterdir()):
        raise RunError(
            "E-OUTPUT-EXISTS",
            "the folder holds something that is not a store",
            why="its files would be mixed with those of the store",
            fix="give another folder",
            file=str(folder),
        )


def _is_ours(name: str) -> bool:
    return name == LOCK or name.endswith(UNFINISHED) or (name.startswith("shard-") and name.endswith(".arrow"))
