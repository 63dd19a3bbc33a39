"""From the shape of a network to its engine: generated kernels, and the steps of a MACE around them.

Needs no torch: an installation compiles engines in an environment that has none.
"""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native import Plan, Target

_SHAPE = """\
#pragma once
constexpr int64_t HIDDEN = {hidden}, LMAX = {lmax};
#define MESSAGE_FIRST message_0
#define MESSAGE_NEXT message_{hidden}
#define PRODUCT_HIDDEN product_{hidden}
#define PRODUCT_LAST product_0
"""


@cache
def engine_plan(spec: KernelSpec) -> Plan:
    """What the engine of a shape is compiled from."""
    return Plan(f"mace-{spec.name}", partial(_sources, spec))


def _sources(spec: KernelSpec, target: Target) -> Mapping[str, str]:
    return {
        **spec.headers(target),
        "shape.hpp": _SHAPE.format(hidden=spec.hidden_lmax, lmax=spec.lmax),
        "engine.cpp": Path(__file__).with_name("engine.cpp").read_text(encoding="utf-8"),
    }
