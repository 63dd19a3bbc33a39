"""Doors to other programs: drive."""

from collections.abc import Callable
from typing import Any

from groundstate.api.sources import Source, load, systems
from groundstate.atoms import Allowances, OptionError
from groundstate.potentials.adapters.ipi import Address, Driven
from groundstate.potentials.adapters.ipi import drive as answer


def drive(
    source: Source,
    model: Any,
    *,
    host: str = "localhost",
    port: int | None = None,
    unix: str = "",
    wait: float = 30.0,
    allow: Allowances | None = None,
    answered: Callable[[int, float], None] | None = None,
) -> Driven:
    """Answer a server of i-PI's protocol about the one structure of `source`; see `potentials.adapters.ipi.drive`."""
    address = Address(host, port, unix, wait)
    structures = systems(source)
    if len(structures) != 1:
        what = f"a driver answers for one structure and the source has {len(structures)}"
        raise OptionError("E-ONE-STRUCTURE", what, fix="give the one the server starts from")
    return answer(load(model).potential, structures[0], address, allow=allow, answered=answered)
