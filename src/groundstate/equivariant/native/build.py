"""A plan becomes a file: compiled in a folder of its own, then filed with its manifest."""

import errno
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from groundstate.equivariant.native import store
from groundstate.equivariant.native.compiler import (
    Compiler,
    CompilerError,
    Unavailable,
    compile_library,
    cores,
    find_compiler,
)
from groundstate.equivariant.native.plan import Generated, Plan
from groundstate.equivariant.native.target import TARGETS, Target, architecture_targets, supported_targets


class BuildError(Exception):
    """Kernels could not be made. Where sources were generated and refused, they are kept in `folder`."""

    def __init__(self, what: str, folder: Path | None = None) -> None:
        super().__init__(what)
        self.folder = folder


def build(generated: Generated, compiler: Compiler, folder: Path) -> Path:
    """Compiles sources and files the library in `folder`; returns its manifest. Raises BuildError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):  # asked before seconds of work, not after
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    plan, target = generated.plan, generated.target
    work = Path(tempfile.mkdtemp(prefix=f"groundstate-{plan}-{target.name}-"))
    refused = False
    try:
        sources = {**generated.sources, "library_id.cpp": _IDENTITY % generated.identity}
        built = compile_library(compiler, sources, target, work)
        return store.write(folder, built, generated, compiler.version)
    except CompilerError as error:
        refused = True
        raise BuildError(
            f"the kernels {plan} did not compile for {target.name}: {error.said} "
            f"(command: {shlex.join(error.command)})",
            work,
        ) from error
    finally:
        if not refused:
            shutil.rmtree(work, ignore_errors=True)


_AT_ONCE = 8  # compilations for a distribution: each takes up to half a GB of memory
_IDENTITY = 'extern "C" const char *groundstate_library_id() { return "%s"; }\n'


def requested_targets(words: str) -> tuple[Target, ...]:
    """Instruction sets to build a distribution for: `best` of this CPU, `all` of its architecture, `none`, or names.

    Names are separated by commas; whether this CPU runs them does not matter. Raises ValueError for an unknown name.
    """
    if words == "best":
        return supported_targets()[:1]
    if words == "all":
        return architecture_targets()
    names = [] if words == "none" else [word.strip() for word in words.split(",")]
    built = {target.name for target in architecture_targets()}
    if unknown := [name for name in names if name not in built]:
        raise ValueError(
            f"KERNEL_TARGET_UNKNOWN: '{unknown[0]}' is no instruction set that can be built for here. "
            f"Known: best, all, none, {', '.join(name for name in TARGETS if name in built)}. Name some of these."
        )
    return tuple(TARGETS[name] for name in names)


def build_all(
    plans: Iterable[Plan], targets: Iterable[Target], folder: Path, progress: Callable[[str], None]
) -> list[Path]:
    """Builds plans for a distribution into `folder`; returns the manifests. Raises BuildError, OSError."""
    pairs = [(plan, target) for target in targets for plan in plans]
    if not pairs:
        return []
    compiler = find_compiler()
    if isinstance(compiler, Unavailable):
        raise BuildError(f"{compiler.reason}. {compiler.fix}")

    def make(pair: tuple[Plan, Target]) -> Path:
        plan, target = pair
        progress(f"compiling kernels {plan.name} for {target.name} with {compiler.version}")
        return build(plan.generate(target), compiler, folder)

    with ThreadPoolExecutor(max_workers=min(cores(), _AT_ONCE)) as pool:
        return list(pool.map(make, pairs))
