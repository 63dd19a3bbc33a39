"""Several models that learned the same answer: their mean, and how far they disagree."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import Geometry, OptionError, System
from groundstate.potentials.derive import evaluate
from groundstate.potentials.potential import Energy, Potential, Prediction, Sum


class Committee(Sum):
    """The mean of its members, each made by itself for the same level of theory: of other seeds, or of other parts of
    the data.

    Errors that a member made by chance cancel, those that all share stay. It costs what all of them cost. The mean of
    potentials is one, so its forces are still the derivative of its energy. Further quantities are those that all give.
    Raises OptionError E-COMMITTEE. Checked: tests/potentials/test_committee.py
    """

    def __init__(self, members: Sequence[Potential]) -> None:
        super().__init__(members)
        theories, elements = {m.theories for m in members}, {m.domain.elements for m in members}
        for what, kinds in (("levels of theory", theories), ("elements", elements)):
            if len(kinds) > 1:
                raise OptionError(
                    "E-COMMITTEE",
                    f"members of a committee differ in their {what}",
                    why="the mean of answers to different questions answers none",
                    fix="join models that were trained alike, but for the seed or the part of the data",
                )

    @property
    def provides(self) -> frozenset[str]:
        """What all members give."""
        return frozenset.intersection(*(member.provides for member in self.potentials))

    def describe(self) -> dict[str, Any]:
        """The members' descriptions."""
        return {**super().describe(), "kind": "committee"}

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        """Means over members."""
        said = [member(system, geometry) for member in self.potentials]
        parts = [one.energy.per_atom for one in said]
        whole = None if any(part is None for part in parts) else _mean(parts)
        energy = Energy(_mean([one.energy.per_system for one in said]), whole)
        return Prediction(energy, {name: _mean([one.outputs[name] for one in said]) for name in self.provides})


def disagreement(committee: Committee, system: System) -> dict[str, Tensor]:
    """Standard deviation over members (n − 1), of `energy_std` [system] in eV and `forces_std` [atom] in eV/Å.

    That of forces is of the vector: √(Σ_k |F_k − F̄|²/(n − 1)). It is what members do not share, and less than the
    error where all err alike. Raises OptionError E-COMMITTEE-ONE for fewer than two members.
    """
    members = committee.potentials
    if len(members) < 2:
        raise OptionError("E-COMMITTEE-ONE", "one member cannot disagree", fix="join at least two models")
    said = [evaluate(member, system, ("energy", "forces")) for member in members]
    energies = torch.stack([one["energy"] for one in said])
    forces = torch.stack([one["forces"] for one in said])
    return {"energy_std": energies.std(dim=0), "forces_std": forces.var(dim=0).sum(dim=-1).sqrt()}


def _mean(values: Sequence[Any]) -> Tensor:
    return torch.stack(list(values)).mean(dim=0)
