"""Where compiled libraries lie, and how one is known to be whole: a library and its manifest, in a folder.

A manifest states what a library was made from and the checksum of its file. The library is named after its content and
is in place before the manifest that names it, both by renaming: a reader sees a whole pair or none, and processes that
write the same library at once do not disturb each other.
"""

import hashlib
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from groundstate.equivariant.native.plan import Generated

PREBUILT = Path(__file__).parent / "prebuilt"
"""Libraries that came with the package."""


@dataclass(frozen=True)
class Manifest:
    """What a library is. `identity` is what its `groundstate_library_id` says, `compiler` the version that made it."""

    plan: str
    target: str
    identity: str
    file: str
    sha256: str
    compiler: str


class DamagedError(Exception):
    """A manifest or its library is not what was written; the words say how."""


def cache_folder() -> Path | None:
    """Folder of the libraries compiled on this machine; None when this user has no home.

    `kernels` in `GROUNDSTATE_CACHE`; where that is not set, in the user's cache folder of the platform. The rule of
    `atoms.places`, said again: kernels are built where the rest of the package, and torch, do not exist yet.
    """
    named = os.environ.get("GROUNDSTATE_CACHE", "").strip()
    if named:
        return Path(named).expanduser().absolute() / "kernels"
    try:
        if platform.system() == "Darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "groundstate" / "kernels"


def stem(generated: Generated, compiler: str) -> str:
    """Name of a manifest without `.json`: what a library is made from and by which compiler."""
    made_by = hashlib.sha256(compiler.encode()).hexdigest()[:8]
    return f"{generated.plan}-{generated.target.name}-{generated.digest[:16]}-{made_by}"


def candidates(folder: Path, generated: Generated, compiler: str | None) -> list[Path]:
    """Manifests of libraries made from these sources; by any compiler when `compiler` is None."""
    if compiler is not None:
        exact = folder / f"{stem(generated, compiler)}.json"
        return [exact] if exact.exists() else []
    return sorted(folder.glob(f"{generated.plan}-{generated.target.name}-{generated.digest[:16]}-*.json"))


def read(manifest: Path, identity: str) -> tuple[Manifest, Path]:
    """The manifest and the library it names, once that is known to be the file that was written.

    The file is compared before it is loaded: the loader maps a truncated library, and the process dies on its first
    missing page. Raises DamagedError.
    """
    try:
        entry = Manifest(**json.loads(manifest.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(f"manifest {manifest} cannot be read ({error})") from error
    if entry.identity != identity:
        raise DamagedError(f"{manifest} belongs to other sources")
    library = manifest.parent / Path(str(entry.file)).name
    try:
        found = checksum(library)
    except OSError as error:
        raise DamagedError(f"{library} cannot be read ({error.strerror})") from error
    if found != entry.sha256:
        raise DamagedError(f"{library} is not the file that was compiled: truncated or replaced")
    return entry, library


def write(folder: Path, built: Path, generated: Generated, compiler: str) -> Path:
    """Takes a library that was built into `folder`; returns its manifest. Raises OSError where that is not possible."""
    folder.mkdir(parents=True, exist_ok=True)
    name, sha256 = stem(generated, compiler), checksum(built)
    file = f"{name}-{sha256[:8]}.so"
    entry = Manifest(generated.plan, generated.target.name, generated.identity, file, sha256, compiler)
    with _replacing(folder / entry.file) as temporary:
        shutil.copyfile(built, temporary)
    manifest = folder / f"{name}.json"
    with _replacing(manifest) as temporary:
        temporary.write_text(json.dumps(asdict(entry), indent=1) + "\n", encoding="utf-8")
    return manifest


def checksum(file: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def listing(folder: Path) -> list[Manifest]:
    """Manifests in a folder, by name; those that cannot be read are left out."""
    found = []
    for manifest in sorted(folder.glob("*.json")):
        try:
            found.append(Manifest(**json.loads(manifest.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return found


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """A name beside `file` to write to, which then takes its place in one step."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
