"""From generated C++ to a loaded, verified library of kernels.

Needs the standard library only.
"""

from groundstate.equivariant.native.compiler import Unavailable
from groundstate.equivariant.native.library import Library, find
from groundstate.equivariant.native.plan import Plan
from groundstate.equivariant.native.target import TARGETS, Target, best_target, supported_targets

__all__ = [
    "TARGETS",
    "Library",
    "Plan",
    "Target",
    "Unavailable",
    "best_target",
    "find",
    "supported_targets",
]
