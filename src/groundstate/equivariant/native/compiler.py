"""The C++ compiler of this machine: which it is, and how it makes a shared library from generated sources."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from groundstate.equivariant.native.target import Target

# -ffp-contract=fast forms fused multiply-adds across statements; -ffast-math would also reorder sums, and was measured
# slower.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-pthread")

_NAMES = ("g++", "clang++", "c++")
_INSTALL = (
    "Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; conda: conda install gxx; "
    "macOS: xcode-select --install), or name one in CXX"
)


@dataclass(frozen=True)
class Unavailable:
    """Why there are no kernels, in one line, and what gives them."""

    reason: str
    fix: str


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: the words that start it, and the first line it says of its version."""

    command: tuple[str, ...]
    version: str


class CompilerError(Exception):
    """The compiler refused; `command` is the one that failed and `said` the first lines of its answer."""

    def __init__(self, command: tuple[str, ...], said: str) -> None:
        super().__init__(f"{shlex.join(command)}: {said}")
        self.command, self.said = command, said


def find_compiler() -> Compiler | Unavailable:
    """The compiler named by `CXX` (arguments allowed), else g++, clang++ or c++ on the `PATH`, in this order.

    A `CXX` that cannot be started is told, not replaced.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        program = shutil.which(named[0])
        if program is None:
            return Unavailable(
                f"CXX names '{named[0]}', which is no program here",
                "Correct CXX, or unset it to take one from the PATH",
            )
        version = _version((program, *named[1:]))
        if version is None:
            return Unavailable(
                f"CXX names '{shlex.join(named)}', which does not answer --version",
                "Correct CXX, or unset it to take one from the PATH",
            )
        return Compiler((program, *named[1:]), version)
    for name in _NAMES:
        program = shutil.which(name)
        version = None if program is None else _version((program,))
        if program is not None and version is not None:
            return Compiler((program,), version)
    return Unavailable(f"no C++ compiler was found ({', '.join(_NAMES)} on the PATH)", _INSTALL)


def compile_library(compiler: Compiler, sources: Mapping[str, str], target: Target, folder: Path) -> Path:
    """Compiles `sources` in `folder` and links them; returns the shared library.

    `sources` maps file names to text; each `.cpp` is one translation unit, and as many as there are cores are compiled
    at once. Raises CompilerError with the words of the compiler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    units = sorted(name for name in sources if name.endswith(".cpp"))
    flags = (*FLAGS, *target.flags)
    objects = [name.removesuffix(".cpp") + ".o" for name in units]
    commands = [(*compiler.command, *flags, "-c", unit, "-o", made) for unit, made in zip(units, objects, strict=True)]
    with ThreadPoolExecutor(max_workers=max(1, min(cores(), len(units)))) as pool:
        list(pool.map(lambda command: _run(command, folder), commands))
    _run((*compiler.command, *flags, "-shared", *objects, "-o", "library.so"), folder)
    return folder / "library.so"


def _run(command: tuple[str, ...], folder: Path) -> None:
    try:
        run = subprocess.run(command, cwd=folder, env=_english(), capture_output=True, text=True, check=False)
    except OSError as error:
        raise CompilerError(command, f"{error}") from error
    if run.returncode:
        lines = [line.strip() for line in run.stderr.splitlines() if line.strip()]
        first = next((i for i, line in enumerate(lines) if "error" in line), 0)
        raise CompilerError(command, " | ".join(lines[first : first + 4]) or f"exit code {run.returncode}")


@cache
def _version(command: tuple[str, ...]) -> str | None:
    """First line of the answer to --version; None when the program does not answer."""
    try:
        run = subprocess.run(
            [*command, "--version"], env=_english(), capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = run.stdout.splitlines()
    return lines[0].strip() if run.returncode == 0 and lines else None


def _english() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
