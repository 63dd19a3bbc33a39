"""Total charge and spin as the network sees them: intensive, smooth, and nothing at all for a neutral singlet."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from groundstate.atoms import System
from groundstate.equivariant import unit_normal
from groundstate.potentials.mace.config import MACEConfig

_WIDTH = 16
SENSITIVITIES = (1.0, 4.0, 16.0)
"""One charge shared by 1, 4 or 16 atoms is each of order one on one of these scales."""


class ConditionEmbedding(nn.Module):
    """Charge per atom and (multiplicity − 1) per atom → a factor and a summand for the channels of every atom.

    Being per atom, they are the same for n copies of a cell with n times the charge, so the energy is n times that of
    one. A condition that is not given counts as neutral, as a singlet; there both results are exactly 1 and 0.
    """

    def __init__(self, config: MACEConfig, *, dtype: torch.dtype, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        inputs = len(SENSITIVITIES) * ((config.charge != "ignores") + (config.multiplicity != "ignores"))
        shapes = [(inputs, _WIDTH), (1, _WIDTH), (_WIDTH, 2 * config.channels)]
        self.weights = unit_normal(shapes, dtype, None, generator)

    def forward(self, system: System) -> tuple[Float[Tensor, "system channel"], Float[Tensor, "system channel"]]:
        into, offset, out = self.weights
        intensive = per_atom(self.config, system)
        scaled = torch.cat([intensive * factor for factor in SENSITIVITIES], dim=1).to(into.dtype)
        hidden = torch.tanh(scaled @ into / len(into) ** 0.5 + offset) - torch.tanh(offset)
        factor, summand = (hidden @ out / len(out) ** 0.5).chunk(2, dim=1)
        return 1.0 + factor, summand


def per_atom(config: MACEConfig, system: System) -> Float[Tensor, "system condition"]:
    """Charge and (multiplicity − 1) per atom, a column each where the configuration sees them; 0 where not given."""
    none = torch.zeros(system.n_systems, dtype=torch.float64, device=system.device)
    given = []
    if config.charge != "ignores":
        given.append(none if system.charge is None else system.charge)
    if config.multiplicity != "ignores":
        given.append(none if system.multiplicity is None else system.multiplicity - 1)
    if not given:
        return none.new_zeros(system.n_systems, 0)
    return torch.stack(given, dim=1) / system.atoms_per_system[:, None]
