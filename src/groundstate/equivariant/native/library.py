"""A library of kernels: found in the package or the cache, or compiled now; verified before anyone calls it."""

import atexit
import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from groundstate.equivariant.native import store
from groundstate.equivariant.native.build import BuildError, build
from groundstate.equivariant.native.compiler import Compiler, Unavailable, find_compiler
from groundstate.equivariant.native.plan import Generated, Plan
from groundstate.equivariant.native.target import Target, best_target, cpu_name, named_target, supported_targets

Origin = Literal["prebuilt", "cached", "compiled"]


class Library:
    """Loaded, verified kernels. An attribute that is not listed here is the C function of that name, from ctypes.

    `notes` tell what was found on the way: a damaged file that was replaced, a cache that cannot be written.
    """

    def __init__(
        self,
        functions: ctypes.CDLL,
        *,
        plan_name: str,
        target: Target,
        path: Path,
        origin: Origin,
        sha256: str,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._functions = functions
        self.plan_name, self.target, self.path = plan_name, target, path
        self.origin, self.sha256, self.notes = origin, sha256, notes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            function = getattr(self._functions, name)
        except AttributeError:
            raise AttributeError(f"the library {self.plan_name} ({self.path}) has no function '{name}'") from None
        setattr(self, name, function)
        return function

    def __deepcopy__(self, memo: dict[int, Any]) -> "Library":
        return self

    def __repr__(self) -> str:
        return f"Library({self.plan_name}, {self.target.name}, {self.origin}, {self.path})"


def announce(line: str) -> None:
    """Says that a compilation takes place, on a terminal only."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"groundstate: {line}\n")
        sys.stderr.flush()


def find(
    plan: Plan,
    *,
    target: Target | None = None,
    check: Callable[[Library], str | None] | None = None,
    remember: str | None = None,
    progress: Callable[[str], None] = announce,
) -> Library | Unavailable:
    """The library of a plan: from the package, from the cache, or compiled now; found once per process.

    `target` is the instruction set, by default `best_target()`; only the default is traded for a lesser one that is at
    hand when the best cannot be compiled. `check` sees the library before it is handed out and raises or returns a
    reason when its numbers are wrong. Each process checks anew, unless `remember` names the check: then a pass is
    remembered in the cache, for this content of the file and this CPU. `progress` hears of a compilation.

    `GROUNDSTATE_NATIVE=off` turns kernels off. Raises ValueError for an instruction set that is unknown or that this
    CPU does not run, and for another value of `GROUNDSTATE_NATIVE`.
    """
    if (off := switched_off()) is not None:
        return off
    if target is not None:
        targets: tuple[Target, ...] = (named_target(target.name),)
    elif os.environ.get("GROUNDSTATE_TARGET", "").strip():
        targets = (best_target(),)
    else:
        targets = supported_targets()
    if not targets:
        return Unavailable(
            f"no kernels are made for the architecture '{platform.machine()}'",
            "On x86-64 and 64-bit ARM there are some",
        )
    key = (plan, targets, check, remember)
    with _LOCK:
        if key not in _FOUND:
            _FOUND[key] = _search(plan, targets, check, remember, progress)
        return _FOUND[key]


_LOCK = threading.RLock()
_FOUND: dict[object, Library | Unavailable] = {}


def switched_off() -> Unavailable | None:
    """Why kernels are not used whatever is at hand: by `GROUNDSTATE_NATIVE`, or on an operating system without them."""
    value = os.environ.get("GROUNDSTATE_NATIVE", "").strip() or "on"
    if value not in ("on", "off"):
        raise ValueError(
            f"KERNEL_SWITCH: GROUNDSTATE_NATIVE is '{value}'. It turns native kernels off or leaves them on. "
            "Set it to 'off' or 'on', or unset it."
        )
    if value == "off":
        return Unavailable("native kernels are turned off by GROUNDSTATE_NATIVE=off", "Unset GROUNDSTATE_NATIVE")
    if os.name != "posix":
        return Unavailable("native kernels are built for Linux and macOS only", "On Windows, run under WSL")
    return None


def _search(
    plan: Plan,
    targets: tuple[Target, ...],
    check: Callable[[Library], str | None] | None,
    remember: str | None,
    progress: Callable[[str], None],
) -> Library | Unavailable:
    notes: list[str] = []
    best = plan.generate(targets[0])
    found = _stored(best, notes) or _compile(best, notes, progress)
    if isinstance(found, Unavailable):
        lesser = (_stored(plan.generate(target), notes) for target in targets[1:])
        found = next((library for library in lesser if library is not None), found)
    if isinstance(found, Unavailable):
        return Unavailable("; ".join([*notes, found.reason]), found.fix)
    found.notes = tuple(notes)
    return found if check is None else _checked(found, check, remember)


def _stored(generated: Generated, notes: list[str]) -> Library | None:
    """A library that lies ready, in the package before the cache; why one was passed over goes to `notes`."""
    for manifest in store.candidates(store.PREBUILT, generated, None):
        if (library := _load(manifest, generated, "prebuilt", notes)) is not None:
            return library
    if (cache := store.cache_folder()) is None:
        return None
    compiler = find_compiler()
    # Where there is no compiler now, as on the compute nodes of a cluster, any that made the library will do.
    version = compiler.version if isinstance(compiler, Compiler) else None
    for manifest in store.candidates(cache, generated, version):
        if (library := _load(manifest, generated, "cached", notes)) is not None:
            return library
    return None


def _load(manifest: Path, generated: Generated, origin: Origin, notes: list[str]) -> Library | None:
    try:
        entry, path = store.read(manifest, generated.identity)
        functions = ctypes.CDLL(str(path))
        tell = functions.groundstate_library_id
        tell.restype = ctypes.c_char_p
        if (told := tell()) != generated.identity.encode():
            raise store.DamagedError(f"{path} is another library ({told!r})")
    except (store.DamagedError, OSError, AttributeError) as error:
        notes.append(f"{origin} library not used: {error}")
        return None
    return Library(
        functions, plan_name=entry.plan, target=generated.target, path=path, origin=origin, sha256=entry.sha256
    )


def _compile(generated: Generated, notes: list[str], progress: Callable[[str], None]) -> Library | Unavailable:
    """Compiles into the cache; into a folder of this process where the cache cannot be written."""
    compiler = find_compiler()
    if isinstance(compiler, Unavailable):
        return compiler
    cache = store.cache_folder()
    once = "" if cache is None else f", once; kept in {cache}"
    progress(f"compiling kernels {generated.plan} for {generated.target.name}{once}")
    try:
        manifest = None if cache is None else _build_cached(generated, compiler, cache, notes)
        if manifest is None:
            folder = Path(tempfile.mkdtemp(prefix="groundstate-kernels-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            manifest = build(generated, compiler, folder)
    except OSError as error:
        return Unavailable(
            f"the kernels {generated.plan} cannot be written anywhere ({error})", "Name a folder in GROUNDSTATE_CACHE"
        )
    except BuildError as error:
        kept = _keep(error.folder, cache, generated)
        return Unavailable(str(error), f"The sources are kept in {kept}. Another compiler can be named in CXX")
    library = _load(manifest, generated, "compiled", notes)
    return library or Unavailable(
        "the compiled kernels cannot be loaded",
        "Name a folder in GROUNDSTATE_CACHE from which programs may be loaded, or another compiler in CXX",
    )


def _build_cached(generated: Generated, compiler: Compiler, cache: Path, notes: list[str]) -> Path | None:
    try:
        return build(generated, compiler, cache)
    except OSError as error:
        notes.append(f"the cache folder {cache} cannot be written ({error.strerror}): compiled for this process only")
        return None


def _keep(sources: Path | None, cache: Path | None, generated: Generated) -> Path | None:
    """Moves sources that were refused to the cache, where the next refusal takes their place."""
    if cache is None or sources is None:
        return sources
    kept = cache / "refused" / f"{generated.plan}-{generated.target.name}"
    try:
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(sources, kept))
    except OSError:
        return sources


def _checked(library: Library, check: Callable[[Library], str | None], remember: str | None) -> Library | Unavailable:
    cache = store.cache_folder()
    passed: Path | None = None
    if remember is not None and cache is not None:
        machine = hashlib.sha256(f"{remember} {cpu_name()}".encode()).hexdigest()
        passed = cache / "checked" / f"{library.sha256[:16]}-{machine[:16]}"
        if passed.exists():
            return library
    try:
        reason = check(library)
    except Exception as error:  # noqa: BLE001 - however a check fails, the library is not to be used
        reason = f"{type(error).__name__}: {error}"
    if reason:
        return Unavailable(
            f"self-test failed: {reason} ({library.path})",
            "Report it with the output of `groundstate doctor`; another compiler in CXX may do better",
        )
    if passed is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written only means that the next process checks too
            passed.parent.mkdir(parents=True, exist_ok=True)
            passed.touch()
    return library
