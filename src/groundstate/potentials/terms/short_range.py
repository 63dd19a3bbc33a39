"""The learned short-range energy: a head's numbers brought to eV."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from groundstate.atoms import Geometry, OptionError, System
from groundstate.potentials.model import Term
from groundstate.potentials.potential import Energy


class ShortRange(Term):
    """E = Σ_i (scale · head_i + shift), scale and shift in eV per level of theory.

    With shift 0 an atom without neighbours has exactly its reference energy, because the head gives 0 there; a shift
    other than 0 exists for imported models that carry one.
    """

    def __init__(self, scale: Sequence[float], shift: Sequence[float]) -> None:
        super().__init__()
        if len(scale) != len(shift) or not all(s > 0 for s in scale):
            raise OptionError("E-SCALE", "scale and shift need one entry per level of theory, scales positive")
        self.register_buffer("scale", torch.tensor(list(scale), dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(list(shift), dtype=torch.float64))

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        """`outputs['energies']` are the head's dimensionless site energies of the level each structure asks for."""
        scale, shift = self.get_buffer("scale"), self.get_buffer("shift")
        theory = torch.zeros(system.n_systems, dtype=torch.int64, device=system.device)
        if system.theory is not None:
            theory = system.theory
        theory_of_atom = theory[system.system_index]
        return Energy.of_atoms(
            system, scale[theory_of_atom] * outputs["energies"].to(torch.float64) + shift[theory_of_atom]
        )
