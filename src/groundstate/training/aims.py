"""What a run optimises: an aim turns predictions and a batch into named parts of a loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import quantity
from groundstate.data import Batch, Record
from groundstate.potentials import Potential, evaluate, periodic_projector


@dataclass(frozen=True, eq=False)
class Part:
    """Sums over one quantity's components in a batch, float64; the loop divides by counts of the whole step.

    loss differentiable; squares, absolutes for RMSE and MAE; count of components.
    """

    loss: Tensor
    squares: Tensor
    absolutes: Tensor
    count: int


@runtime_checkable
class Aim(Protocol):
    """A loss with a name. The run minimises Σ_part weights[part] · Σ loss / Σ count."""

    @property
    def name(self) -> str:
        """Recorded with the run."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of each part; the parts' names are fixed, so that processes can add them."""

    @property
    def requires(self) -> frozenset[str]:
        """Quantities whose labels it reads."""

    def counts(self, record: Record) -> Mapping[str, int]:
        """Components that this record brings to each part, known before anything is computed; 0 for parts left out."""

    def loss(self, potential: Potential, batch: Batch, *, differentiable: bool) -> dict[str, Part]:
        """The parts for this batch; `differentiable` when gradients with respect to parameters will follow."""


class FitLabels:
    """Supervised learning: predicted energy per atom, forces, stress and further quantities equal their labels.

    Which quantities are divided by the number of atoms, and their shapes, come from the table of quantities. Stress is
    compared within the periodic subspace. Frames without a label are left out by its mask.
    Checked: tests/training/test_aims.py (gradients by finite differences).
    """

    name = "fit labels"

    def __init__(self, weights: Mapping[str, float], *, loss: str = "mse", huber_delta: float = 0.01) -> None:
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        self._huber_delta = {"huber": huber_delta, "mse": None}[loss]

    @property
    def requires(self) -> frozenset[str]:
        """The quantities of non-zero weight."""
        return frozenset(self.weights)

    def counts(self, record: Record) -> dict[str, int]:
        """Components of each label."""
        return {name: record.labels[name].numel() if name in record.labels else 0 for name in self.weights}

    def loss(self, potential: Potential, batch: Batch, *, differentiable: bool) -> dict[str, Part]:
        """Sums of ρ(error) per quantity."""
        found = errors(potential, batch, tuple(self.weights), differentiable=differentiable)
        return {name: self._part(values) for name, values in found.items()}

    def _part(self, error: Tensor) -> Part:
        delta, size = self._huber_delta, error.abs()
        rho = error**2 if delta is None else torch.where(size < delta, 0.5 * error**2, delta * (size - 0.5 * delta))
        known = error.detach()
        return Part(rho.sum(), (known**2).sum(), known.abs().sum(), known.numel())


def errors(
    potential: Potential, batch: Batch, names: tuple[str, ...], *, differentiable: bool = False
) -> dict[str, Float[Tensor, " component"]]:
    """Prediction − label of every labelled component, float64, extensive quantities per atom."""
    system = batch.system
    present = [name for name in names if name in batch.masks and bool(batch.masks[name].any())]
    predicted = _predict(potential, batch, present, differentiable) if present else {}
    found = {name: torch.zeros(0, dtype=torch.float64, device=system.device) for name in names}
    for name in present:
        row, mask = quantity(name), batch.masks[name]
        label = batch.labels[name].to(torch.float64)
        if name == "stress":
            projector = periodic_projector(system)
            label = projector @ label @ projector
        difference = predicted[name].to(torch.float64) - label
        if row.extensive:
            atoms = system.atoms_per_system.to(torch.float64)
            difference = difference / atoms.reshape(-1, *[1] * (difference.ndim - 1))
        chosen = mask if row.per == "system" else mask[system.system_index]
        found[name] = difference[chosen].reshape(-1)
    return found


def _predict(potential: Potential, batch: Batch, names: list[str], differentiable: bool) -> dict[str, Tensor]:
    system = batch.system
    # A molecule in the batch has no stress; its strain gradient is 0 and its label is masked.
    want = ["strain_gradient" if name == "stress" else name for name in names]
    predicted = evaluate(potential, system, want, graph=batch.graph, differentiable=differentiable)
    if "stress" in names:
        volume = torch.where(system.volume > 0, system.volume, torch.ones_like(system.volume))
        predicted["stress"] = predicted["strain_gradient"] / volume[:, None, None]
    return predicted
