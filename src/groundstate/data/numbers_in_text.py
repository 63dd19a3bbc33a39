"""Numbers as files write them: plain, Fortran (`-1.0D+02`), separated by blanks or commas, or already numbers."""

import json
from typing import Any

import numpy as np


def number(text: str) -> float:
    """One real number; ValueError where the text is not one."""
    try:
        return float(text)
    except ValueError:
        # Fortran's double-precision exponent: ASE leaves such a value as text, and a label silently disappears.
        return float(text.replace("D", "e").replace("d", "e"))


def numbers(value: Any) -> np.ndarray | None:
    """The real numbers in a value as a float64 array (0-d for a single one), or None where there are none."""
    if isinstance(value, str):
        return _from_text(value)
    array = np.asarray(value)
    if array.dtype.kind in "iuf":
        return array.astype(np.float64)
    if array.dtype.kind in "UO" and array.size:
        try:
            return np.array([number(str(item)) for item in array.flat], dtype=np.float64).reshape(array.shape)
        except ValueError:
            return None
    return None


def _from_text(text: str) -> np.ndarray | None:
    if text.startswith("_JSON "):
        try:
            return numbers(json.loads(text[len("_JSON ") :]))
        except (ValueError, RecursionError):
            return None
    parts = text.replace(",", " ").replace("[", " ").replace("]", " ").split()
    if not parts:
        return None
    try:
        values = np.array([number(part) for part in parts], dtype=np.float64)
    except ValueError:
        return None
    return values.reshape(()) if len(values) == 1 else values
