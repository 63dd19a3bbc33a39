"""What the makers of structures share: a crystal, and the elements there are."""

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers

ELEMENTS = tuple(z for z in range(1, 95) if z not in (84, 85, 86, 87, 88))
"""Those of the Materials Project: H … Pu without Po, At, Rn, Fr, Ra."""
_NONMETALS_NAMED = "H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Te I Xe"
NONMETALS = frozenset(atomic_numbers[name] for name in _NONMETALS_NAMED.split())


@dataclass(frozen=True)
class Crystal:
    """One structure with periods in all directions."""

    numbers: np.ndarray
    fractional: np.ndarray
    cell: np.ndarray
    origin: str
