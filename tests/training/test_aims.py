"""Gradients of the loss with respect to parameters, and what masks leave out."""

import pytest
import torch

from groundstate.atoms import System
from groundstate.data import Record, collate
from groundstate.training import FitLabels
from groundstate.training.aims import errors
from training.specimens import copper, learner

WEIGHTS = {"energy": 2.0, "forces": 3.0, "stress": 50.0}


def total(aim: FitLabels, potential: torch.nn.Module, records: list[Record], differentiable: bool) -> torch.Tensor:
    parts = aim.loss(potential, collate(records), differentiable=differentiable)
    return torch.stack([aim.weights[name] * part.loss / part.count for name, part in parts.items()]).sum()


@pytest.mark.parametrize("kind", ["mse", "huber"])
def test_loss_gradients_equal_finite_differences(kind: str) -> None:
    records, aim = copper(3, seed=5), FitLabels(WEIGHTS, loss=kind, huber_delta=0.05)
    potential = learner(6, torch.float64)
    (parameter,) = potential.parameters()
    total(aim, potential, records, True).backward()
    step = 1e-6
    for index in range(len(parameter)):
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[index] += sign * step
                sides.append(float(total(aim, potential, records, False)))
                parameter[index] -= sign * step
        assert parameter.grad is not None
        assert float(parameter.grad[index]) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-8)


def test_a_masked_label_counts_nothing() -> None:
    records, aim = copper(2, seed=5), FitLabels(WEIGHTS, loss="mse")
    unlabelled = Record(records[1].system, {"energy": records[1].labels["energy"]})
    alone = aim.loss(learner(), collate(records[:1]), differentiable=False)
    mixed = aim.loss(learner(), collate([records[0], unlabelled]), differentiable=False)
    assert mixed["energy"].count == 2
    for name in ("forces", "stress"):
        assert mixed[name].count == alone[name].count
        torch.testing.assert_close(mixed[name].loss, alone[name].loss)


def test_a_molecule_in_a_batch_with_stress() -> None:
    molecule = Record(System.single([[0, 0, 0], [2.4, 0, 0]], [29, 29]), {"energy": torch.tensor(0.5).double()})
    parts = FitLabels(WEIGHTS).loss(learner(), collate([*copper(1, seed=5), molecule]), differentiable=True)
    assert parts["stress"].count == 9
    assert all(bool(torch.isfinite(part.loss)) for part in parts.values())


def test_energy_counts_per_atom() -> None:
    (record,) = copper(1, seed=5)
    off = Record(record.system, {"energy": record.labels["energy"] + 4.0})
    right, wrong = (errors(learner(), collate([r]), ("energy",))["energy"] for r in (record, off))
    assert float(right - wrong) == pytest.approx(1.0)
