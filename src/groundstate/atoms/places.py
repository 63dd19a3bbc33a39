"""Where things made once on a machine are kept: compiled kernels, environments of other programs, weights."""

import os
import platform
from pathlib import Path


def user_folder(kind: str) -> Path | None:
    """The folder for `kind`; None when this user has no home.

    `kind` in `GROUNDSTATE_CACHE`; where that is not set, in the user's cache folder of the platform.
    """
    named = os.environ.get("GROUNDSTATE_CACHE", "").strip()
    if named:
        return Path(named).expanduser().absolute() / kind
    try:
        if platform.system() == "Darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "groundstate" / kind


def offline() -> bool:
    """Whether the user forbids every download: `OFFLINE`, `GROUNDSTATE_OFFLINE` or `HF_HUB_OFFLINE` is set."""
    names = ("OFFLINE", "GROUNDSTATE_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no") for name in names)
