"""A potential in another process: its energy, forces and stress enter torch through one autograd function."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import Domain, Geometry, GroundstateError, LevelOfTheory, System, quantity
from groundstate.external.boxes import boxed
from groundstate.external.process import Worker
from groundstate.potentials import Energy, Potential, Prediction


class ExternalPotential(Potential):
    """E(r, cell) as a driver answers it; first derivatives are the driver's own forces and stress.

    worker        the process that is asked
    description   plain data that fixes the model: `kind`, name, version, hash of weights, precision
    domain, cutoff (Å), theories, provides   as its card states them
    conservative  whether its forces are the derivative of its energy; a model with direct forces still answers with
                  them, and says so here
    provides      may name `energies`, where the driver gives a partition of its energy
    vacuum        Å; where given, open directions are closed with that much of it before structures are sent, see
                  `boxed`: for programs that mistreat open boundaries, exact where it exceeds the program's cutoff
    Only first derivatives exist. Geometry and weights stay there, so our neighbour lists are not used; the stress of a
    slab refers to the whole cell, as everywhere here.
    Checked: tests/external/test_external_potential.py (an analytic potential on both sides of the pipe)
    """

    def __init__(
        self,
        worker: Worker,
        description: Mapping[str, Any],
        *,
        domain: Domain,
        cutoff: float,
        theories: tuple[LevelOfTheory, ...] = (),
        provides: frozenset[str] = frozenset(),
        conservative: bool = True,
        vacuum: float | None = None,
    ) -> None:
        super().__init__()
        self.worker, self._conservative = worker, conservative
        self._description, self._domain, self._cutoff = dict(description), domain, cutoff
        self._theories, self._provides, self._vacuum = theories, provides, vacuum

    @property
    def domain(self) -> Domain:
        """As its card states it."""
        return self._domain

    @property
    def cutoff(self) -> float:
        """Å, how far one of its layers sees."""
        return self._cutoff

    @property
    def theories(self) -> tuple[LevelOfTheory, ...]:
        """As its card states them."""
        return self._theories

    @property
    def provides(self) -> frozenset[str]:
        """As its card states them."""
        return self._provides

    @property
    def conservative(self) -> bool:
        """As its card states it."""
        return self._conservative

    @property
    def twice_differentiable(self) -> bool:
        """Its forces come from another process."""
        return False

    def describe(self) -> dict[str, Any]:
        """The description it was made with."""
        return dict(self._description)

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        """Energies of the batch. Raises the refusal of the first structure the driver could not compute."""
        moved = system.positions.requires_grad
        strained = system.cell.requires_grad and bool(system.pbc.any())
        want = ["energy", *sorted(self.provides), *(["forces"] if moved else []), *(["stress"] if strained else [])]
        here = system.replace(positions=system.positions.detach(), cell=system.cell.detach())
        sent = here if self._vacuum is None else boxed(here, self._vacuum)
        answers = self._answers(sent, want)
        energy = torch.stack([answer["energy"] for answer in answers])
        forces = torch.cat([answer["forces"] for answer in answers]) if moved else torch.zeros_like(here.positions)
        stress = torch.stack([answer["stress"] for answer in answers]) if strained else torch.zeros_like(here.cell)
        by_strain = sent.volume[:, None, None] * stress
        per_system = _Derivatives.apply(system.positions, system.cell, energy, forces, by_strain, here)
        outputs = {
            name: (torch.cat if quantity(name).per == "atom" else torch.stack)([answer[name] for answer in answers])
            for name in self.provides - {"energies"}
        }
        partition = torch.cat([answer["energies"] for answer in answers]) if "energies" in self.provides else None
        return Prediction(Energy(per_system, partition), outputs)

    def _answers(self, system: System, want: list[str]) -> list[dict[str, Tensor]]:
        found = []
        for s, answer in enumerate(self.worker.ask(system, want)):
            if isinstance(answer, GroundstateError):
                raise answer.at(frame=s)
            missing = [name for name in want if name not in answer]
            if missing:
                raise GroundstateError(
                    "E-EXTERNAL-MISSING",
                    f"{self.worker.name} gave no {', '.join(missing)}",
                    frame=s,
                    fix="mend its driver",
                )
            found.append(answer)
        return found


class _Derivatives(torch.autograd.Function):
    """∂E/∂r = −F and, from V σ = Σ r ⊗ ∂E/∂r + cellᵀ ∂E/∂cell, the derivative by the cell at fixed positions."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, cell: Tensor, *rest: Any) -> Tensor:
        energy, forces, by_strain, here = rest
        ctx.save_for_backward(forces, by_strain)
        ctx.here = here
        return energy.clone()

    @staticmethod
    def backward(ctx: Any, by_energy: Tensor) -> tuple[Tensor | None, ...]:
        forces, by_strain = ctx.saved_tensors
        here: System = ctx.here
        virial = by_strain + here.sum_over_atoms(here.positions[:, :, None] * forces[:, None, :])
        by_cell = torch.linalg.pinv(here.cell.transpose(1, 2)) @ virial
        scale = by_energy[:, None, None]
        return -by_energy[here.system_index, None] * forces, scale * by_cell, None, None, None, None
