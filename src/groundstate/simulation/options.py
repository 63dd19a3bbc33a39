"""Checks of options, made when a configuration is built: a refused option costs no computing time."""

import math

from groundstate.atoms import OptionError, nearest


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a choice that does not exist."""
    if value not in known:
        raise OptionError("E-OPTION-UNKNOWN", f"{name}='{value}' does not exist", fix=nearest(str(value), known))


def whole(name: str, value: int, lowest: int) -> None:
    """Refuse a count that is not a whole number of at least `lowest`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise OptionError("E-OPTION-RANGE", f"{name}={value!r} is out of range", fix=f"give a whole number ≥ {lowest}")


def within(name: str, value: float, low: float, high: float, *, code: str = "E-OPTION-RANGE", hint: str = "") -> None:
    """Refuse a number outside low … high (both allowed), or not finite."""
    if not (math.isfinite(value) and low <= value <= high):
        raise OptionError(
            code,
            f"{name}={value:g} is out of range",
            why=f"sensible values lie between {low:g} and {high:g}",
            fix=hint or "check the unit, which the option's name states",
        )
