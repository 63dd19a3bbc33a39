"""The nuclear repulsion that models trained with mace-torch carry."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.atoms.elements import periodic_table
from groundstate.potentials.model import Term
from groundstate.potentials.potential import Energy
from groundstate.potentials.switch import polynomial_switch

PREFACTOR, RANGE = 0.4543, 0.300
"""Of the screening length, a = PREFACTOR · 0.529 Å / (Z_i^RANGE + Z_j^RANGE)."""
_SCREENING = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))
_COULOMB = 14.3996


class MACEZBL(Term):
    """Screened Coulomb repulsion as mace-torch has it, for models that were trained with it; others use `ZBL`.

    E = ½ scale Σ_ij  14.3996 Z_i Z_j / r · φ(r/a) · s(r/(R_i + R_j)),  a = 0.4543 · 0.529 / (Z_i^0.3 + Z_j^0.3)

    in eV and Å; φ(x) = Σ c_k exp(−d_k x), R covalent radii, s `polynomial_switch` with the model's own power. It
    differs from `ZBL` in its rounded constants and its range, and is scaled as the learned energy is, so at contact it
    is a wall but not the Coulomb law. scale: one for each level of theory; cutoff: Å, beyond which nothing is counted.
    Checked: tests/zoo/test_mace_import.py
    """

    def __init__(self, elements: Iterable[int], power: int, cutoff: float, scale: Sequence[float]) -> None:
        super().__init__()
        radii = torch.tensor([0.0, *(row.covalent_radius for row in periodic_table())], dtype=torch.float64)
        self.register_buffer("radii", radii, persistent=False)
        self.register_buffer("scale", torch.tensor(list(scale), dtype=torch.float64))
        self.power, self.cutoff = power, min(cutoff, 2 * float(radii[sorted(elements)].max()))

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        """Half of each pair's repulsion belongs to either atom; scaled as the level of theory of its structure."""
        radii, edges = self.get_buffer("radii"), geometry.edges(self.cutoff)
        z_i, z_j = system.numbers[edges.receivers], system.numbers[edges.senders]
        r = edges.distances
        length = PREFACTOR * 0.529 / (z_i.to(r.dtype) ** RANGE + z_j.to(r.dtype) ** RANGE)
        screening = sum((c * torch.exp(-d * r / length) for c, d in _SCREENING), start=torch.zeros_like(r))
        switch = polynomial_switch(r / (radii[z_i] + radii[z_j]), self.power)
        pair = _COULOMB / r * z_i * z_j * screening * switch
        theory = torch.zeros(system.n_systems, dtype=torch.int64, device=system.device)
        if system.theory is not None:
            theory = system.theory
        scale = self.get_buffer("scale")[theory][system.system_index]
        return Energy.of_atoms(system, 0.5 * scale * edges.sum_to_receivers(pair))
