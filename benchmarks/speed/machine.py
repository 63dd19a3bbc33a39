"""What the numbers were measured on: the processor, its caches, the memory, the commit, and who else was busy."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def describe() -> dict[str, Any]:
    """Hardware and system; what cannot be told is left out."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "caches_bytes": caches(),
    }
    for path, field, name in (
        ("/proc/cpuinfo", "model name", "processor"),
        ("/proc/cpuinfo", "flags", "flags"),
        ("/proc/meminfo", "MemTotal", "memory"),
    ):
        if value := _field(path, field):
            found[name] = value
    if "flags" in found:
        interesting = re.compile(r"(avx|fma|sse4|amx|f16c|bf16)")
        found["flags"] = " ".join(flag for flag in found["flags"].split() if interesting.match(flag))
    return found


def caches() -> dict[str, int]:
    """Bytes of the data caches that one core sees, by level."""
    found = {}
    for index in sorted(_CACHES.glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found[f"L{level}"] = int(size[:-1]) * _UNITS[size[-1]]
    return found


def available_memory_MB() -> float:
    """What a process may still take without pushing others out; infinite where it cannot be told."""
    value = _field("/proc/meminfo", "MemAvailable")
    return int(value.split()[0]) / 1000 if value else float("inf")


def commit() -> str:
    """Of this checkout; with "+" where files differ from it."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True).stdout
        command = ["git", "status", "--porcelain", "--untracked-files=no"]
        changed = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if changed.strip() else "")


def _field(path: str, name: str) -> str:
    try:
        text = Path(path).read_text()
    except OSError:
        return ""
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else ""
