"""The rounding noise of forces, and through it the precision a potential really computes in."""

import math

import torch

from groundstate.atoms import OptionError, System
from groundstate.laws.precision import PRECISIONS, Precision
from groundstate.laws.specimens import Specimens
from groundstate.potentials import Potential, Sum, evaluate

STEP = 1e-5
"""Å; many float32 roundings of a bond length, yet a smooth force has fourth differences below 1e-15 eV/Å over it."""
POINTS = 16
ORDER = 4


def force_noise(potential: Potential, system: System, *, seed: int = 0) -> float:
    """Root mean square rounding noise of a force component of one structure, eV/Å: no relaxation converges below it."""
    return _noise(potential, system, "forces", seed)


def energy_noise(potential: Potential, system: System, *, seed: int = 0) -> float:
    """Root mean square rounding noise of the energy of one structure, eV."""
    return _noise(potential, system, "energy", seed)


def _noise(potential: Potential, system: System, quantity: str, seed: int) -> float:
    """Fourth differences at sixteen places 1e-5 Å apart on a random line.

    They leave nothing of a smooth quantity, and of independent noise √70 times itself (√ of summed squared binomials).
    """
    generator = torch.Generator().manual_seed(seed)
    line = torch.randn(system.n_atoms, 3, dtype=torch.float64, generator=generator).to(system.device)
    copies = [system.replace(positions=system.positions + k * STEP * line) for k in range(POINTS)]
    values = evaluate(potential, System.batch(copies), (quantity,))[quantity].to("cpu", torch.float64)
    differences = values.reshape(POINTS, -1).diff(n=ORDER, dim=0)
    return float(differences.square().mean().sqrt()) / math.sqrt(math.comb(2 * ORDER, ORDER))


def precision_of(potential: Potential, specimens: Specimens) -> Precision:
    """The coarsest format among the parameters; where there are none, what the noise of the forces betrays.

    Of a sum the coarsest of its parts. Raises OptionError for half precision: no law holds there to a useful tolerance.
    """
    parts = potential.potentials if isinstance(potential, Sum) else (potential,)
    names = {_format_of(part, specimens) for part in parts}
    return PRECISIONS["float32" if "float32" in names else "float64"]


def _format_of(potential: Potential, specimens: Specimens) -> str:
    formats = {str(p.dtype).removeprefix("torch.") for p in potential.parameters() if p.is_floating_point()}
    for name in sorted(formats - set(PRECISIONS)):
        raise OptionError(
            "E-PRECISION",
            f"the potential computes in {name}",
            why="forces of that precision obey no law to a useful tolerance",
            fix="examine it in float32 or float64",
        )
    if not formats:
        return _betrayed_format(potential, specimens["bulk"])
    return "float32" if "float32" in formats else "float64"


def _betrayed_format(potential: Potential, system: System) -> str:
    try:
        scale = float(evaluate(potential, system, ("forces",))["forces"].abs().max())
        noise = force_noise(potential, system)
    except Exception:  # noqa: BLE001 - it will raise again in every law, which is the place to report it
        return "float64"
    return "float32" if noise > 1e-10 * max(scale, 0.1) else "float64"
