"""Files that are whole or absent, and folders that belong to one process at a time."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from groundstate.atoms import RunError

UNFINISHED = ".part"
"""End of the name of a file while it is being written; one that is found was left by a kill."""


def write_whole(path: Path, content: bytes) -> None:
    """The old file or the new one, never a part, also when the disk fills or the process is killed.

    Raises RunError E-WRITE when the disk refuses; what was there before is intact.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under; at the end of the block the file takes its place, and before that nothing changes.

    Raises as `write_whole`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            "E-WRITE",
            f"'{path.name}' could not be written ({error.strerror or error})",
            file=str(path.parent),
            why="what was there before is intact",
            fix="free space or mend the disk, and repeat the same command to go on",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def owned_folder(folder: Path) -> Iterator[Path]:
    """Make and hold a folder; a second process is refused.

    The system lets go of the lock when its process dies, however it dies, so no lock is ever stale.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(
            "E-OUTPUT-UNWRITABLE",
            f"the output folder cannot be made or written ({error.strerror})",
            file=str(folder),
            fix="give a folder you may write to",
        ) from error
    with lock:
        try:
            _lock(lock)
        except OSError:
            lock.seek(0)
            raise RunError(
                "E-RUN-LOCKED",
                f"the folder is in use by {lock.read().strip() or 'another process'}",
                file=str(folder),
                why="two writers would destroy each other's results",
                fix="wait for it, end it, or give another folder",
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        for left in folder.glob(f".*{UNFINISHED}"):
            left.unlink()
        yield folder


LOCK = "lock"
"""Name of the lock file."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _sync_folder(folder: Path) -> None:
        """Windows has no handle on a folder to flush."""

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _sync_folder(folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
