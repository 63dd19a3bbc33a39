"""How an equivariant feature lies in memory: `[..., irrep, channel]`, natural parity only.

The `irrep` axis runs over the real spherical harmonics of degree l = 0 … lmax; the component m of degree l sits at
l·l + l + m. With the z axis polar this makes degree 1 the vector (y, z, x).

Natural parity: degree l is multiplied by (−1)^l under inversion, as the harmonics are. An energy, a force and a
multipole moment are natural, and the symmetric product of natural features with natural parity kept at the end reaches
every polynomial invariant of the neighbour density, so pseudo-tensors would cost rows and buy nothing for them. What
needs an axial vector (spin coupling, magnetic moments as vectors, circular dichroism) needs more than this convention.
"""

from dataclasses import dataclass

import numpy as np


def dimension(lmax: int) -> int:
    """Number of components of degrees 0 … lmax: (lmax+1)²."""
    return (lmax + 1) ** 2


def degree_slice(l: int) -> slice:
    """Where degree l lies on the `irrep` axis."""
    return slice(l * l, (l + 1) ** 2)


@dataclass(frozen=True)
class IrrepLayout:
    """Rows of a feature that holds several copies of each degree: ordered by degree, then m, then copy.

    copies[l] is how many tensors of degree l are kept side by side, e.g. one for each path of a tensor product. The
    rows of one degree of a contiguous `[atom, row, channel]` are then a `[atom, 2l+1, copies·channel]` without a copy,
    which is the shape a channel-mixing linear map wants. A plain feature has one copy of everything.
    Checked: tests/equivariant/test_product.py
    """

    copies: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.copies or min(self.copies) < 0:
            raise ValueError(
                f"EQUIVARIANT_LAYOUT: copies {self.copies} must hold a count ≥ 0 for each degree from 0. "
                "Rows cannot be laid out otherwise. Give one integer per degree."
            )

    @classmethod
    def plain(cls, lmax: int) -> "IrrepLayout":
        """One copy of every degree: the `irrep` axis itself."""
        return cls((1,) * (lmax + 1))

    @property
    def lmax(self) -> int:
        return len(self.copies) - 1

    @property
    def rows(self) -> int:
        return sum((2 * l + 1) * copies for l, copies in enumerate(self.copies))

    def rows_of(self, l: int) -> slice:
        """Rows of degree l."""
        start = sum((2 * k + 1) * self.copies[k] for k in range(l))
        return slice(start, start + (2 * l + 1) * self.copies[l])

    def copy_of_row(self) -> np.ndarray:
        """For each row the running number of its copy, counted through all degrees."""
        first = np.concatenate([[0], np.cumsum(self.copies)])
        blocks = [np.tile(np.arange(n) + first[l], 2 * l + 1) for l, n in enumerate(self.copies)]
        return np.concatenate(blocks).astype(np.int64)
