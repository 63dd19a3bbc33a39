"""Reference energies: what an element contributes whatever its surroundings, per level of theory."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from groundstate.atoms import Geometry, OptionError, System
from groundstate.atoms.elements import N_ELEMENTS
from groundstate.potentials.model import Term
from groundstate.potentials.potential import Energy


class ReferenceEnergies(Term):
    """Energy per element and level of theory, eV, float64; 0 for elements never fitted (the trunk refuses those)."""

    def __init__(self, per_theory: Sequence[Mapping[int, float]]) -> None:
        super().__init__()
        if len(per_theory) == 0:
            raise OptionError("E-REFERENCE-EMPTY", "reference energies need at least one level of theory")
        table = torch.zeros(len(per_theory), N_ELEMENTS + 1, dtype=torch.float64)
        for row, energies in enumerate(per_theory):
            for number, energy in energies.items():
                table[row, number] = energy
        self.register_buffer("table", table)

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        """Σ E₀(Z) of the level each structure asks for; the first where it names none."""
        table = self.get_buffer("table")
        theory = torch.zeros(system.n_systems, dtype=torch.int64, device=system.device)
        if system.theory is not None:
            theory = system.theory
        return Energy.of_atoms(system, table[theory[system.system_index], system.numbers])
