"""Which derivatives a pass of autograd is for; kernels then leave out the others.

A gradient by positions does not need that by the parameters, and the reverse: where both are leaves of one graph,
autograd asks an operator for all its inputs, wanted or not. Whoever takes the derivative knows, and says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Wanted = Literal["geometry", "parameters", "all"]

# A plain variable, not a context variable: autograd may run the backward of a device in a thread of its own.
_wanted: list[Wanted] = ["all"]


@contextmanager
def derivatives(wanted: Wanted) -> Iterator[None]:
    """Within it, operators give only derivatives by "geometry" (distances, harmonics) or only by "parameters" (tables).

    What is left out comes out as zero. Derivatives by features are always given: both kinds pass through them.
    """
    _wanted.append(wanted)
    try:
        yield
    finally:
        _wanted.pop()


def by_geometry() -> bool:
    """Whether derivatives by distances and harmonics are wanted."""
    return _wanted[-1] != "parameters"


def by_parameters() -> bool:
    """Whether derivatives by tables and coefficients are wanted."""
    return _wanted[-1] != "geometry"
