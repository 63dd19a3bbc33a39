"""What a run optimises: an aim turns predictions and a batch into named parts of a loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import DataError, System, quantity
from groundstate.data import Batch, Record
from groundstate.potentials import Potential, evaluate, periodic_projector

DIFFERENTIATED = frozenset({"energy", "forces", "stress", "hessian_row"})
"""What every potential gives: its energy and derivatives of that."""
DISPLACED = 0.01
"""Å, of an atom whose displacement is a unit vector, for rows of the Hessian."""


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
    compared within the periodic subspace, moments of atoms by magnitude; `hessian_row` is a difference of forces along
    the `displacement` it comes with. Frames without a label are left out by its mask.
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
    predicted = _predict(potential, batch, present, differentiable)
    found = {name: torch.zeros(0, dtype=torch.float64, device=system.device) for name in names}
    for name in present:
        row, mask = quantity(name), batch.masks[name]
        label = compared(name, batch.labels[name].to(torch.float64), system)
        difference = predicted[name].to(torch.float64) - label
        if row.extensive:
            atoms = system.atoms_per_system.to(torch.float64)
            difference = difference / atoms.reshape(-1, *[1] * (difference.ndim - 1))
        chosen = mask if row.per == "system" else mask[system.system_index]
        found[name] = difference[chosen].reshape(-1)
    return found


def compared(name: str, label: Tensor, system: System) -> Tensor:
    """What of a label a potential can be held to."""
    if name == "stress":
        projector = periodic_projector(system)
        return projector @ label @ projector
    if name == "magnetic_moments":
        # All of them reversed is the same state, so that an energy surface knows magnitudes only.
        return label.abs()
    return label


def _predict(potential: Potential, batch: Batch, names: list[str], differentiable: bool) -> dict[str, Tensor]:
    system, want = batch.system, [name for name in names if name not in ("hessian_row", "dipole", "stress")]
    predicted: dict[str, Tensor] = {}
    # A molecule in the batch has no stress; its strain gradient is 0 and its label is masked.
    asked = [*want, "strain_gradient"] if "stress" in names else want
    if asked:
        predicted = evaluate(potential, system, asked, graph=batch.graph, differentiable=differentiable)
    if "stress" in names:
        volume = torch.where(system.volume > 0, system.volume, torch.ones_like(system.volume))
        predicted["stress"] = predicted["strain_gradient"] / volume[:, None, None]
    if "dipole" in names:
        predicted["dipole"] = _of_some(potential, batch, "dipole", differentiable)
    if "hessian_row" in names:
        predicted["hessian_row"] = _hessian_rows(potential, batch, differentiable)
    return predicted


def _of_some(potential: Potential, batch: Batch, name: str, differentiable: bool) -> Tensor:
    """A quantity per system of the structures that have its label; 0 for the others, which may not have it at all."""
    members = batch.masks[name].nonzero()[:, 0].tolist()
    some = batch.system.select(members)
    values = evaluate(potential, some, (name,), differentiable=differentiable)[name]
    total = values.new_zeros(batch.system.n_systems, *values.shape[1:])
    return total.index_copy(0, batch.masks[name].nonzero()[:, 0], values)


def _hessian_rows(potential: Potential, batch: Batch, differentiable: bool) -> Float[Tensor, "atom 3"]:
    """(F(r − ε d) − F(r + ε d)) / 2ε along the displacement d of each structure that has one: two ordinary samples of
    forces, no third derivatives of the potential; the error is of order ε²."""
    mask = batch.masks["hessian_row"]
    if "displacement" not in batch.masks or bool((mask & ~batch.masks["displacement"]).any()):
        raise DataError(
            "E-LABEL-MISSING",
            "a structure has the label 'hessian_row' and no 'displacement'",
            why="a row of a Hessian belongs to a direction",
            fix="make both with training.hessian_rows",
        )
    chosen = mask[batch.system.system_index]
    some = batch.system.select(mask.nonzero()[:, 0].tolist())
    step = DISPLACED * batch.labels["displacement"][chosen]
    sides = System.batch([some.replace(positions=some.positions + sign * step) for sign in (-1, 1)])
    back, forth = evaluate(potential, sides, ("forces",), differentiable=differentiable)["forces"].chunk(2)
    rows = (back - forth) / (2 * DISPLACED)
    return rows.new_zeros(batch.system.n_atoms, 3).index_copy(0, chosen.nonzero()[:, 0], rows)
