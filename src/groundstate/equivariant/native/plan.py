"""What a library of kernels is made from."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from groundstate.equivariant.native.compiler import FLAGS
from groundstate.equivariant.native.target import Target


@dataclass(frozen=True)
class Generated:
    """The sources of a library for one instruction set, and their `digest`: sha256 of all but the compiler."""

    plan: str
    target: Target
    sources: Mapping[str, str]
    digest: str

    @property
    def identity(self) -> str:
        """What `groundstate_library_id` of the library returns."""
        return f"{self.digest}:{self.target.name}"


@dataclass(frozen=True)
class Plan:
    """How a library is made, for any instruction set.

    `name` is readable and fit for a file name, such as "mace-l3-h1-v3-k128-float32". `sources` gives file names and C++
    text: each `.cpp` is one translation unit, `.hpp` are headers. The text must not differ between machines, or no
    library is known again. Plans are told apart as values: a plan asked for often should be one object.
    """

    name: str
    sources: Callable[[Target], Mapping[str, str]]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(
                f"KERNEL_PLAN_NAME: '{self.name}' does not make a file name. Libraries are filed by it. "
                "Use letters, digits, dots, dashes and underscores."
            )

    def generate(self, target: Target) -> Generated:
        """The sources for an instruction set."""
        sources = dict(self.sources(target))
        text = json.dumps([self.name, sorted(sources.items()), FLAGS, target.name, target.flags])
        return Generated(self.name, target, sources, hashlib.sha256(text.encode()).hexdigest())
