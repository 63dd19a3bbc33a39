"""Asking a potential, and comparing two answers that a law says are equal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Graph, System
from groundstate.laws.precision import Precision
from groundstate.laws.result import Deviation
from groundstate.potentials import Potential, evaluate

DOUBLE = 2.2e-16
"""Relative rounding of float64."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Energy (eV), forces (eV/Å) and strain gradient (eV) of a batch, float64 on the CPU."""

    energy: Float[Tensor, " system"]
    forces: Float[Tensor, "atom 3"]
    strain_gradient: Float[Tensor, "system 3 3"]

    def of(self, index: int, batch: System) -> "Answer":
        """The part that belongs to one structure of the batch."""
        start, end = batch.system_ptr[index : index + 2].tolist()
        return Answer(self.energy[index : index + 1], self.forces[start:end], self.strain_gradient[index : index + 1])

    def rotated(self, rotation: Float[Tensor, "3 3"]) -> "Answer":
        """What the answer becomes when the structure is turned, vectors v → v Rᵀ."""
        turned = rotation @ self.strain_gradient @ rotation.T
        return Answer(self.energy, self.forces @ rotation.T, turned)


def ask(potential: Potential, system: System, graph: Graph | None = None) -> Answer:
    """The potential's answer for a batch."""
    found = evaluate(potential, system, ("energy", "forces", "strain_gradient"), graph=graph)
    values = {name: value.to("cpu", torch.float64) for name, value in found.items()}
    return Answer(**values)


def scale_of(values: Tensor, least: float = 0.1) -> float:
    """Largest finite magnitude, at least `least`: of forces the scale in eV/Å to which deviations are compared."""
    return max(float(values.nan_to_num(0.0, 0.0, 0.0).abs().max()), least)


def compare(specimen: str, found: Answer, expected: Answer, precision: Precision) -> list[Deviation]:
    """Deviations of two answers for one structure that should be equal."""
    n_atoms, scale = found.forces.shape[0], scale_of(expected.forces)
    # Whatever a network computes in, reference energies and sums over atoms are float64 and round as such.
    rounding = 64 * DOUBLE * scale_of(expected.energy, least=0.0) / n_atoms
    stiff = max(scale, scale_of(expected.strain_gradient, least=0.0) / n_atoms)
    return [
        Deviation("energy", specimen, magnitude(found.energy - expected.energy) / n_atoms,
                  precision.energy * scale + rounding, "eV/atom"),
        Deviation("forces", specimen, magnitude(found.forces - expected.forces), precision.forces * scale, "eV/Å"),
        Deviation("strain gradient", specimen, magnitude(found.strain_gradient - expected.strain_gradient) / n_atoms,
                  precision.forces * stiff, "eV/atom"),
    ]  # fmt: skip


def magnitude(values: Tensor) -> float:
    """Largest magnitude; infinite when any value is not finite, 0 of nothing."""
    if not torch.isfinite(values).all():
        return math.inf
    return float(values.abs().max()) if values.numel() else 0.0


def compare_all(found: Mapping[str, Answer], expected: Mapping[str, Answer], precision: Precision) -> list[Deviation]:
    """Deviations of every specimen in `found`."""
    return [d for name, answer in found.items() for d in compare(name, answer, expected[name], precision)]
