"""Numbers read from features of atoms."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from groundstate.atoms import System
from groundstate.atoms.elements import N_ELEMENTS
from groundstate.equivariant import unit_normal
from groundstate.potentials.mace.config import MACEConfig
from groundstate.potentials.mace.radial import SILU_SCALE
from groundstate.potentials.model import Head, NodeFeatures


class EnergyHead(Head):
    """Dimensionless site energies of the level of theory each structure asks for, the first where it names none.

    Linear in the invariants of every layer but the last, a network with one hidden layer there; no biases.
    """

    provides = frozenset({"energies"})

    def __init__(self, config: MACEConfig, n_theories: int, *, dtype: torch.dtype, generator: torch.Generator) -> None:
        super().__init__()
        self.readout = _Readout(config, n_theories, dtype=dtype, generator=generator)

    def forward(self, features: NodeFeatures, system: System) -> dict[str, Tensor]:
        """`energies` [atom], before scale and reference energies."""
        columns = self.readout(features)
        if columns.shape[1] == 1 or system.theory is None:
            return {"energies": columns[:, 0]}
        return {"energies": columns.gather(1, system.theory[system.system_index][:, None])[:, 0]}


class ScalarHead(Head):
    """Any scalar of an atom, such as its charge or moment: a readout like that of energies, and a number per element.

    The number per element starts at 0 and is what an atom without neighbours has.
    """

    def __init__(
        self, name: str, config: MACEConfig, elements: Sequence[int], *, dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.name, self.provides = name, frozenset({name})
        self.readout = _Readout(config, 1, dtype=dtype, generator=generator)
        self.of_element = nn.Parameter(torch.zeros(len(elements), dtype=dtype))
        class_of_number = torch.zeros(N_ELEMENTS + 1, dtype=torch.int64)
        class_of_number[list(elements)] = torch.arange(len(elements))
        self.register_buffer("class_of_number", class_of_number, persistent=False)

    def forward(self, features: NodeFeatures, system: System) -> dict[str, Tensor]:
        """Its quantity [atom], in the unit of the table of quantities, float64."""
        own = self.of_element[self.get_buffer("class_of_number")[system.numbers]]
        return {self.name: (self.readout(features)[:, 0] + own).to(torch.float64)}


class DipoleHead(Head):
    """The dipole of partial charges of the atoms, Σ q (r − r_cm), about the centre of mass; latent charges of its own,
    shifted alike so that they add up to the charge of the structure (0 where none is given).

    Dipoles of the atoms themselves are not in it. Source: Unke and Meuwly, J. Chem. Theory Comput. 15, 3678 (2019),
    (PhysNet). Checked: tests/potentials/test_mace_heads.py
    """

    provides = frozenset({"dipole"})

    def __init__(
        self, config: MACEConfig, elements: Sequence[int], *, dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.charges = ScalarHead("charges", config, elements, dtype=dtype, generator=generator)

    def forward(self, features: NodeFeatures, system: System) -> dict[str, Tensor]:
        """`dipole` [system, 3], e·Å, float64; without meaning for a periodic structure, where `derive` refuses it."""
        owner = system.system_index
        charges = self.charges(features, system)["charges"]
        excess = system.sum_over_atoms(charges)
        if system.charge is not None:
            excess = excess - system.charge
        charges = charges - (excess / system.atoms_per_system)[owner]
        masses = system.masses[:, None]
        centre = system.sum_over_atoms(masses * system.positions) / system.sum_over_atoms(masses)
        return {"dipole": system.sum_over_atoms(charges[:, None] * (system.positions - centre[owner]))}


class _Readout(nn.Module):
    """Columns of scalars: W · invariants of each layer but the last, plus W₂ silu(W₁ · invariants of the last)."""

    def __init__(self, config: MACEConfig, columns: int, *, dtype: torch.dtype, generator: torch.Generator) -> None:
        super().__init__()
        channels, width = config.channels, config.readout_width
        self.linear = unit_normal([(channels, columns)] * (config.layers - 1), dtype, None, generator)
        self.hidden, self.last = unit_normal([(channels, columns * width), (columns, width)], dtype, None, generator)

    def forward(self, features: NodeFeatures) -> Float[Tensor, "atom column"]:
        *earlier, final = (layer[:, 0] for layer in features.layers)
        columns, width = self.last.shape
        hidden = nn.functional.silu(final @ (self.hidden / math.sqrt(len(self.hidden)))) * SILU_SCALE
        total = (hidden.unflatten(1, (columns, width)) * (self.last / math.sqrt(width))).sum(dim=2)
        for invariants, weight in zip(earlier, self.linear, strict=True):
            total = total + invariants @ (weight / math.sqrt(len(weight)))
        return total
