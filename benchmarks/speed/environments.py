"""An environment for each peer, since their pins exclude one another; and models that travel between environments."""

import subprocess
import sys
from pathlib import Path

from plan import PACKAGES

from groundstate import zoo
from groundstate.api import convert
from groundstate.atoms import ModelError

TORCH = "torch==2.13.0"
"""The same for all, installed first so that no peer pulls another build of it."""


def python_of(folder: Path, peer: str) -> Path:
    """Its interpreter, whether or not it is there."""
    return folder / peer / "bin" / "python"


def install(folder: Path, peer: str, index: str = "") -> None:
    """Make it, or complete it. index: a further package index, e.g. PyTorch's of CPU builds."""
    python, done = python_of(folder, peer), folder / peer / "complete"
    if done.exists():
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / peer)], check=True)
    constraints = folder / "constraints.txt"
    constraints.write_text(f"{TORCH}\n")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    if index:
        pip += ["--extra-index-url", index]
    subprocess.run([*pip, TORCH, "numpy"], check=True, timeout=1800)
    subprocess.run([*pip, PACKAGES[peer]], check=True, timeout=1800)
    done.touch()


def converted(folder: Path, python: Path, shape: str, dtype: str, *, again: bool = False) -> Path:
    """The model that the mace-torch peer is timed with, as this package's model file; made once, or `again`.

    One that this version of the package no longer reads is made again too.

    Raises what `groundstate.api.convert` raises, and CalledProcessError where mace-torch cannot write it.
    """
    file, target = folder / f"mace-{shape}-{dtype}.model", folder / f"mace-{shape}-{dtype}.safetensors"
    if again or not _readable(target):
        folder.mkdir(parents=True, exist_ok=True)
        script = str(Path(__file__).with_name("peer_mace.py"))
        subprocess.run([str(python), script, "--save", str(file), shape, dtype], check=True, capture_output=True)
        # The pickle was written a moment ago, by us.
        convert("mace", file, target, python=str(python), trust_pickle=True, precision=dtype, overwrite=True)
        file.unlink()
    return target


def _readable(model: Path) -> bool:
    try:
        zoo.load(model)
    except ModelError:
        return False
    return True
