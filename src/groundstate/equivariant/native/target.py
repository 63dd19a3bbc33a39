"""Instruction sets that kernels are compiled for, and which of them this CPU runs."""

import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """An instruction set: what the generator must know of it, and how a compiler is told.

    `vector_bytes` is the width of one vector register, `registers` how many there are, `flags` go to the compiler.
    """

    name: str
    vector_bytes: int
    registers: int
    flags: tuple[str, ...]


TARGETS: dict[str, Target] = {
    "avx512": Target("avx512", 64, 32, ("-march=x86-64-v4", "-mprefer-vector-width=512")),
    "avx2": Target("avx2", 32, 16, ("-march=x86-64-v3",)),
    "sse": Target("sse", 16, 16, ("-march=x86-64",)),
    "neon": Target("neon", 16, 32, ("-march=armv8-a",)),
}
"""Every known instruction set by name; those of one architecture stand best first."""

_ARCHITECTURES = {
    "x86_64": ("avx512", "avx2", "sse"),
    "amd64": ("avx512", "avx2", "sse"),
    "aarch64": ("neon",),
    "arm64": ("neon",),
}
# What a CPU must report for the levels x86-64-v3 and v4, as far as reports tell: the other instructions of a level came
# to market with these.
_V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_NEEDS = {"avx512": _V4, "avx2": _V3}


def architecture_targets() -> tuple[Target, ...]:
    """Instruction sets of this machine's architecture, best first; empty when no kernels are made for it."""
    return tuple(TARGETS[name] for name in _ARCHITECTURES.get(platform.machine().lower(), ()))


def supported_targets() -> tuple[Target, ...]:
    """Instruction sets that this CPU runs, best first; empty when no kernels are made for its architecture.

    Linux and macOS tell what the CPU has; elsewhere only what every CPU of the architecture has is taken as given.
    """
    features = _cpu_features(platform.system())
    return tuple(target for target in architecture_targets() if _NEEDS.get(target.name, set()) <= features)


def best_target() -> Target:
    """The instruction set to use: the one named by `GROUNDSTATE_TARGET`, else the best this CPU runs.

    Raises ValueError when the name is unknown, when this CPU does not run it, or when there is none for this machine.
    """
    name = os.environ.get("GROUNDSTATE_TARGET", "").strip()
    if name:
        return named_target(name)
    supported = supported_targets()
    if not supported:
        raise ValueError(
            f"KERNEL_TARGET_NONE: no kernels are made for the architecture '{platform.machine()}'. They exist for "
            "x86-64 and 64-bit ARM. The same mathematics runs in torch."
        )
    return supported[0]


def named_target(name: str) -> Target:
    """The instruction set of that name, which this CPU must run; ValueError otherwise."""
    supported = ", ".join(target.name for target in supported_targets()) or "none"
    if name not in TARGETS:
        raise ValueError(
            f"KERNEL_TARGET_UNKNOWN: '{name}' is no instruction set that kernels are made for. Known: "
            f"{', '.join(TARGETS)}; this CPU runs: {supported}. Name one of these in GROUNDSTATE_TARGET, or unset it."
        )
    if TARGETS[name] not in supported_targets():
        raise ValueError(
            f"KERNEL_TARGET_UNSUPPORTED: this CPU does not run '{name}'. Its kernels would stop the process at "
            f"their first instruction. Known: {', '.join(TARGETS)}; this CPU runs: {supported}. Name one of these."
        )
    return TARGETS[name]


@cache
def cpu_name() -> str:
    """Model of the CPU in the words of the operating system; its architecture where that says nothing."""
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.machine()
    return _cpuinfo().get("model name") or platform.machine()


@cache
def _cpu_features(system: str) -> frozenset[str]:
    if system == "Linux":
        return frozenset(_cpuinfo().get("flags", "").split())
    if system == "Darwin":
        # Apple's names are Intel's: AVX1.0 is the only one spelled differently.
        words = _sysctl("machdep.cpu.features", "machdep.cpu.leaf7_features").lower().split()
        return frozenset("avx" if word == "avx1.0" else word for word in words)
    return frozenset()


@cache
def _cpuinfo() -> dict[str, str]:
    """What Linux tells about the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _sysctl(*names: str) -> str:
    """Values by name; a name this macOS does not know counts as empty."""
    run = subprocess.run(["/usr/sbin/sysctl", "-n", *names], capture_output=True, text=True, check=False)
    return run.stdout.strip()
