"""What a law may demand of a potential that computes in float64 or in float32: every tolerance, in one place.

Energies, forces and strain gradients are compared relative to the scale of the specimen, the largest force component on
it (at least 0.1 eV/Å): the specimens are rattled, so this is the stiffness of what is tested and not an accident of
equilibrium. Float32 tolerances are about a hundred roundings of a network of ordinary depth; they admit single
precision and nothing else. Float64 tolerances are a million times tighter than any error in a formula.

| what                                       | float64          | float32          |
|--------------------------------------------|------------------|------------------|
| energy per atom, relative to scale · 1 Å   | 1e-8             | 1e-4             |
| forces, strain gradient per atom, relative | 1e-8             | 1e-3             |
| same, against finite differences           | 1e-6             | 5e-3             |
| jump of the energy, eV                     | 1e-6             | 1e-4             |
| jump of a force, eV/Å                      | 1e-4             | 5e-3             |

A finite difference is granted six standard errors besides, from the rounding of the energies measured on the specimen.
"""

from dataclasses import dataclass
from itertools import chain

import torch

from groundstate.atoms import OptionError, nearest
from groundstate.potentials import Potential


@dataclass(frozen=True)
class Precision:
    """Tolerances and step lengths for one floating-point format; the table above says what they mean.

    energy, forces     relative to the scale of the specimen
    differences        of a derivative against finite differences, relative to the scale
    displacement       largest displacement (Å) of a finite difference; strains are a third of it
    jump_width         interval (Å) across which a step is told from a slope
    energy_jump, force_jump   eV, eV/Å
    """

    name: str
    energy: float
    forces: float
    differences: float
    displacement: float
    jump_width: float
    energy_jump: float
    force_jump: float


PRECISIONS = {
    "float64": Precision("float64", 1e-8, 1e-8, 1e-6, 1e-4, 1e-7, 1e-6, 1e-4),
    "float32": Precision("float32", 1e-4, 1e-3, 5e-3, 2e-3, 1e-4, 1e-4, 5e-3),
}


def named_precision(name: str) -> Precision:
    """'float64' or 'float32'."""
    if name not in PRECISIONS:
        raise OptionError("E-PRECISION", f"there is no precision '{name}'", fix=nearest(name, PRECISIONS))
    return PRECISIONS[name]


def device_of(potential: Potential) -> torch.device:
    """Where the potential computes: the device of its first parameter or buffer, the CPU when it has none."""
    first = next(chain(potential.parameters(), potential.buffers()), None)
    return torch.device("cpu") if first is None else first.device
