"""What a property calculation says of one structure of many: the property, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

from groundstate.atoms import GroundstateError, OptionError, RunError, System

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Value]):
    """One structure's property.

    index    of the structure in the batch · system the relaxed structure, or the input where nothing was computed
    value    the property, `None` where it was refused · problem why, `None` where it was not
    notes    what a reader of the number must know · record potential, configuration and version that made it
    """

    index: int
    system: System
    value: Value | None
    problem: GroundstateError | None
    notes: tuple[str, ...]
    record: Mapping[str, Any]

    def unwrap(self) -> Value:
        """The property; raises the reason where there is none."""
        if self.value is None:
            raise self.problem or RunError("E-PROPERTY-NONE", f"structure {self.index} has no result")
        return self.value


HOW_COMPUTED = ("max_atoms_per_batch",)
"""Options that change the cost of a result and not the result."""


def asked(config: Any) -> dict[str, Any]:
    """The options that fix a result, nested configurations included: what a run folder must have been made with."""
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in HOW_COMPUTED}
    return {name: asked(value) if is_dataclass(value) else value for name, value in values.items()}


def not_a_crystal(property_name: str, single: System) -> OptionError:
    """The refusal of a structure that is not periodic in three directions."""
    return OptionError(
        "E-NOT-A-CRYSTAL",
        f"{property_name} was asked of a structure with {int(single.pbc.sum())} periodic direction(s)",
        why="it is defined per volume of a crystal",
        fix="give a structure that is periodic in three directions",
    )


def not_relaxed(status: str, code: str, reason: str) -> RunError:
    """The refusal of a structure that did not reach its minimum."""
    return RunError(
        "E-PROPERTY-NOT-RELAXED",
        f"the structure did not relax ({status}; {code}: {reason})",
        why="derivatives of the energy away from its minimum are not the property",
        fix="allow more steps or a larger force_tolerance, or start from a better structure",
    )
