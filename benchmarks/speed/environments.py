"""An environment for each peer: their pins exclude one another."""

import subprocess
import sys
from pathlib import Path

from plan import PACKAGES

TORCH = "torch==2.13.0"
"""The same for all, installed first so that no peer pulls another build of it."""


def python_of(folder: Path, peer: str) -> Path:
    """Its interpreter, whether or not it is there."""
    return folder / peer / "bin" / "python"


def install(folder: Path, peer: str, index: str = "") -> None:
    """Make it, or complete it. index: a further package index, e.g. PyTorch's of CPU builds."""
    python = python_of(folder, peer)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / peer)], check=True)
    constraints = folder / "constraints.txt"
    constraints.write_text(f"{TORCH}\n")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    if index:
        pip += ["--extra-index-url", index]
    subprocess.run([*pip, TORCH, "numpy"], check=True, timeout=1800)
    subprocess.run([*pip, PACKAGES[peer]], check=True, timeout=1800)
