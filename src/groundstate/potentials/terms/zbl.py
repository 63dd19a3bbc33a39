"""Screened nuclear repulsion: the wall every potential needs where no data are."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.atoms.elements import periodic_table
from groundstate.atoms.units import BOHR, COULOMB
from groundstate.potentials.model import Term
from groundstate.potentials.nearest import TRUSTED, Nearest
from groundstate.potentials.potential import Energy
from groundstate.potentials.switch import polynomial_switch

_SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


class ZBL(Term):
    """Universal screened Coulomb repulsion of Ziegler, Biersack and Littmark, switched off at bonding distance.

    E = ½ Σ_ij  e²/(4πε₀) Z_i Z_j / r · φ(r/a) · s(r/r_c),  a = 0.8854 a₀ / (Z_i^0.23 + Z_j^0.23)

    φ(x) = Σ c_k exp(−d_k x); r_c ≤ R_i + R_j, the sum of covalent radii, so it acts below bonding distance only;
    s(x) = 1 − 28 x⁶ + 48 x⁷ − 21 x⁸, whose first and second derivative vanish at 1. Positive and falling with r
    everywhere, since φ, 1/r and s are. No parameters.

    elements  it is for; of all that there are when not given
    shortest  r_c in sums of covalent radii, at least. When this is less than 1, r_c is TRUSTED · the distance of the
              nearest such atoms in the training data, for elements that never met as the more careful of them
              usually does (`Nearest.usual`), no more than the sum and no less than `shortest` of it: many bonds are
              shorter than the sum, and a network that has to cancel the repulsion inside them does it only as far
              as its data go
    Source: Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Matter (1985).
    Checked: tests/potentials/test_terms.py
    """

    reaches_contact = True

    def __init__(self, elements: Iterable[int] | None = None, *, shortest: float = 1.0) -> None:
        super().__init__()
        rows = periodic_table()
        known = sorted(elements) if elements is not None else [row.number for row in rows]
        radii = torch.tensor([0.0, *(row.covalent_radius for row in rows)], dtype=torch.float64)
        classes = torch.full((len(radii),), len(known))  # of a stranger: beyond every table
        classes[known] = torch.arange(len(known))
        self.register_buffer("radii", radii, persistent=False)
        self.register_buffer("classes", classes, persistent=False)
        self.shortest, self.taught = shortest, Nearest(known) if shortest < 1.0 else None
        self.cutoff = 2 * float(radii[known].max())

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        """Half of each pair's repulsion belongs to either atom."""
        edges = geometry.edges(self.cutoff)
        z_i, z_j = system.numbers[edges.receivers], system.numbers[edges.senders]
        r = edges.distances
        x = r / self.ranges(z_i, z_j)
        length = 0.8854 * BOHR / (z_i.to(r.dtype) ** 0.23 + z_j.to(r.dtype) ** 0.23)
        screening = sum((c * torch.exp(-d * r / length) for c, d in _SCREENING), start=torch.zeros_like(r))
        pair = COULOMB / r * z_i * z_j * screening * polynomial_switch(x, 6)  # r first: it is float64
        return Energy.of_atoms(system, 0.5 * edges.sum_to_receivers(pair))

    def ranges(self, z_i: Int[Tensor, " pair"], z_j: Int[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        """r_c in Å of pairs of atomic numbers."""
        radii, classes = self.get_buffer("radii"), self.get_buffer("classes")
        sums = radii[z_i] + radii[z_j]
        if self.taught is None:
            return sums
        shares = self.taught.shares()
        shares = TRUSTED * torch.where(shares.isfinite(), shares, self.taught.usual())[classes[z_i], classes[z_j]]
        return torch.where(shares > 0, shares.clamp(self.shortest, 1.0), 1.0) * sums
