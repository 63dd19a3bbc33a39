"""Total charge and spin as the network sees them: intensive, smooth, and nothing at all for a neutral singlet."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from groundstate.atoms import System
from groundstate.equivariant import unit_normal
from groundstate.potentials.mace.config import MACEConfig

_WIDTH = 16
_SENSITIVITIES = (1.0, 4.0, 16.0)
"""One charge shared by 1, 4 or 16 atoms is each of order one on one of these scales."""


class ConditionEmbedding(nn.Module):
    """Charge per atom and (multiplicity − 1) per atom → a factor and a summand for the channels of every atom.

    Being per atom, they are the same for n copies of a cell with n times the charge, so the energy is n times that of
    one. A condition that is not given counts as neutral, as a singlet; there both results are exactly 1 and 0.
    """

    def __init__(self, config: MACEConfig, *, dtype: torch.dtype, generator: torch.Generator) -> None:
        super().__init__()
        self._charge, self._multiplicity = config.charge != "ignores", config.multiplicity != "ignores"
        inputs = len(_SENSITIVITIES) * (self._charge + self._multiplicity)
        shapes = [(inputs, _WIDTH), (1, _WIDTH), (_WIDTH, 2 * config.channels)]
        self.weights = unit_normal(shapes, dtype, None, generator)

    def forward(self, system: System) -> tuple[Float[Tensor, "system channel"], Float[Tensor, "system channel"]]:
        into, offset, out = self.weights
        none = torch.zeros(system.n_systems, dtype=torch.float64, device=system.device)
        given = []
        if self._charge:
            given.append(none if system.charge is None else system.charge)
        if self._multiplicity:
            given.append(none if system.multiplicity is None else system.multiplicity - 1)
        intensive = torch.stack(given, dim=1) / system.atoms_per_system[:, None]
        scaled = torch.cat([intensive * factor for factor in _SENSITIVITIES], dim=1).to(into.dtype)
        hidden = torch.tanh(scaled @ into / len(into) ** 0.5 + offset) - torch.tanh(offset)
        factor, summand = (hidden @ out / len(out) ** 0.5).chunk(2, dim=1)
        return 1.0 + factor, summand
