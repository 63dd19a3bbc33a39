"""Screened nuclear repulsion: the wall every potential needs where no data are."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.atoms.elements import periodic_table
from groundstate.atoms.units import BOHR, COULOMB
from groundstate.potentials.model import Term
from groundstate.potentials.potential import Energy
from groundstate.potentials.switch import polynomial_switch

_SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


class ZBL(Term):
    """Universal screened Coulomb repulsion of Ziegler, Biersack and Littmark, switched off at bonding distance.

    E = ½ Σ_ij  e²/(4πε₀) Z_i Z_j / r · φ(r/a) · s(r/r_c),  a = 0.8854 a₀ / (Z_i^0.23 + Z_j^0.23)

    φ(x) = Σ c_k exp(−d_k x); r_c = R_i + R_j, the sum of covalent radii, so it acts below bonding distance only;
    s(x) = 1 − 28 x⁶ + 48 x⁷ − 21 x⁸, whose first and second derivative vanish at 1. Positive and falling with r
    everywhere, since φ, 1/r and s are. No parameters; `elements` only bounds the cutoff.
    Source: Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Matter (1985).
    Checked: tests/potentials/test_terms.py
    """

    reaches_contact = True

    def __init__(self, elements: Iterable[int] | None = None) -> None:
        super().__init__()
        rows = periodic_table()
        radii = torch.tensor([0.0, *(row.covalent_radius for row in rows)], dtype=torch.float64)
        self.register_buffer("radii", radii, persistent=False)
        self.cutoff = 2 * float(radii.max() if elements is None else radii[sorted(elements)].max())

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        """Half of each pair's repulsion belongs to either atom."""
        radii, edges = self.get_buffer("radii"), geometry.edges(self.cutoff)
        z_i, z_j = system.numbers[edges.receivers], system.numbers[edges.senders]
        r = edges.distances
        x = r / (radii[z_i] + radii[z_j])
        length = 0.8854 * BOHR / (z_i.to(r.dtype) ** 0.23 + z_j.to(r.dtype) ** 0.23)
        screening = sum((c * torch.exp(-d * r / length) for c, d in _SCREENING), start=torch.zeros_like(r))
        pair = COULOMB / r * z_i * z_j * screening * polynomial_switch(x, 6)  # r first: it is float64
        return Energy.of_atoms(system, 0.5 * edges.sum_to_receivers(pair))
