"""Forces that are no derivative of an energy, and motion at constant energy: one of them must go."""

from groundstate.atoms import Allowances, OptionError
from groundstate.potentials import Potential


def refuse_direct_forces(potential: Potential, ensemble: str, allow: Allowances | None) -> None:
    """Refuse constant energy with a potential that is not conservative, unless allowed by name.

    Such forces do work around closed loops, so the total energy that `nve` keeps does not exist; a thermostat hides it.
    Checked: tests/simulation/test_direct_forces.py
    """
    if ensemble != "nve" or potential.conservative or (allow is not None and allow.direct_forces):
        return
    raise OptionError(
        "E-DIRECT-FORCES",
        "the forces of this model are not the derivative of its energy, and ensemble='nve' conserves an energy",
        why="the structure would heat or cool by itself, and the drift would say nothing about the time step",
        fix="use a model with conservative forces or a thermostat, or allow it by name (--allow-direct-forces)",
    )
