"""What a file says of one structure, before anything is read into it. Every reader ends here; `labels` starts here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from groundstate.atoms import System

CALCULATOR = "calculator."
"""Prefix of keys that came from an ASE calculator's results and not from `info` or a column."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A structure and the values beside it, under the names the file gives them.

    info: one value per structure (text stays text) · arrays: one row per atom · results: what an ASE calculator holds,
    in ASE's units, sign and Voigt order · notes: what the reader read into the file, for the report.

    Where the format itself says what a key means: defined: quantity → key, in base units (a stress in ASE's
    convention), taken where the user names no other · meaning: key → what it is, told with the label taken from it ·
    calculation: key → the calculation it belongs to, where a frame holds several; labels of two never mix.
    """

    system: System
    info: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    defined: Mapping[str, str] = field(default_factory=dict)
    meaning: Mapping[str, str] = field(default_factory=dict)
    calculation: Mapping[str, str] = field(default_factory=dict)
