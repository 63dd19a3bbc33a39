"""How near an evaluation comes to what one core of this machine can do: counted arithmetic over measured peak."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import machine

from groundstate.equivariant.generator.count import Shape, evaluation, traffic

HIDDEN_LMAX = {"small": 0, "medium": 1, "large": 2}
ITEMSIZE = {"float32": 4, "float64": 8}
_MEMORY_BYTES = 256 << 20
"""Beyond the caches of most machines; what is beyond them on all is not worth the wait."""
_FLAGS = (("-march=native",), ("-mcpu=native",), ())
"""How compilers are asked for everything this processor has; the first that one accepts."""


def measure_peak(core: int) -> dict[str, Any]:
    """GFLOP/s of multiply-adds by number type, GB/s of reads by level: L1, L2, L3 and memory, of one core, now."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "c++", "g++", "clang++"))), None)
    if compiler is None:
        return {"error": "no C++ compiler, so no peak is known"}
    sizes = {level: size // (4 if level == "L3" else 2) for level, size in machine.caches().items()}
    sizes["memory"] = _MEMORY_BYTES
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        command = [compiler, "-O3", "-std=c++17", "-ffp-contract=fast"]
        source = ["-o", str(program), str(Path(__file__).with_name("peak.cpp"))]
        for flags in _FLAGS:
            compiled = subprocess.run([*command, *flags, *source], capture_output=True, text=True)
            if compiled.returncode == 0:
                break
        else:
            return {"error": f"{compiler} failed: {compiled.stderr.strip().splitlines()[-1]}"}
        pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, [core])} if hasattr(os, "sched_setaffinity") else {}
        arguments = [str(program), *map(str, sizes.values())]
        found = json.loads(subprocess.run(arguments, capture_output=True, check=True, timeout=120, **pinned).stdout)
    found["reads"] = dict(zip(sizes, found["reads"].values(), strict=True))
    return found


def best(peaks: list[dict[str, Any]]) -> dict[str, Any]:
    """The highest of several measurements: a peak is what the machine can do, not what it did when disturbed."""
    good = [peak for peak in peaks if "error" not in peak]
    if not good:
        return peaks[0] if peaks else {"error": "not measured"}
    reads = {level: max(peak["reads"][level] for peak in good) for level in good[0]["reads"]}
    return {name: max(peak[name] for peak in good) for name in ("vector_bytes", "float32", "float64")} | {
        "reads": reads
    }


def account(shape: str, dtype: str, neighbours: float, seconds: float, peak: dict[str, Any]) -> dict[str, Any]:
    """One evaluation's arithmetic by part, MFLOP/atom, its traffic, KB/atom, and the fraction of the limit it reached.

    seconds per atom. The limit is arithmetic alone: tables and gathers come from caches while it computes. How long
    each kind of traffic would take by itself, µs/atom, stands beside it: tables and gathers from the largest cache.
    """
    kind = Shape(hidden_lmax=HIDDEN_LMAX[shape])
    parts = evaluation(kind, neighbours)
    moved = traffic(kind, neighbours, ITEMSIZE[dtype])
    total = sum(work.total for work in parts.values())
    found: dict[str, Any] = {
        "neighbours": neighbours,
        "MFLOP": {name: {"forward": w.forward / 1e6, "backward": w.backward / 1e6} for name, w in parts.items()},
        "total_MFLOP": total / 1e6,
        "KB": {name: value / 1e3 for name, value in moved.items()},
        "measured_us": seconds * 1e6,
        "GFLOP/s": total / seconds / 1e9,
    }
    if "error" in peak:
        return found | {"error": peak["error"]}
    cache = peak["reads"][max(level for level in peak["reads"] if level != "memory")]
    floors = {
        "arithmetic": total / peak[dtype] / 1e3,
        "tables and gathers": (moved["tables"] + moved["gathers"]) / cache / 1e3,
        "memory": moved["nodes"] / peak["reads"]["memory"] / 1e3,
    }
    return found | {"floors_us": floors, "fraction": floors["arithmetic"] / (seconds * 1e6)}
