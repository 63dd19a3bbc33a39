"""Gradients of the loss with respect to parameters, and what masks leave out."""

import pytest
import torch

from groundstate.atoms import DataError, System
from groundstate.data import Record, collate
from groundstate.potentials import evaluate
from groundstate.potentials.derive import hessian
from groundstate.potentials.mace import MACEConfig, build
from groundstate.training import FitLabels, hessian_rows
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


def test_a_row_of_the_hessian_is_a_difference_of_forces() -> None:
    records = copper(2, seed=5)
    rows = hessian_rows(learner(8, torch.float64), records, rows=3, seed=1)
    assert len(rows) == 6
    student = learner(8, torch.float64, seed=4)
    for record in rows:
        row = int(record.labels["displacement"].reshape(-1).argmax())
        exact = hessian(learner(8, torch.float64), record.system, method="autograd")[row].reshape(4, 3)
        torch.testing.assert_close(record.labels["hessian_row"], exact, rtol=0, atol=1e-2 * float(exact.abs().max()))
        other = hessian(student, record.system)[row].reshape(4, 3)
        (found,) = errors(student, collate([record]), ("hessian_row",)).values()
        torch.testing.assert_close(found, (other - record.labels["hessian_row"]).reshape(-1), rtol=0, atol=1e-4)


def test_rows_beside_other_labels_and_their_gradient() -> None:
    records = copper(2, seed=5)
    mixed = [records[0], *hessian_rows(learner(6, torch.float64, seed=9), records[1:], rows=2)]
    aim, potential = FitLabels({"energy": 1.0, "hessian_row": 1.0}), learner(6, torch.float64)
    parts = aim.loss(potential, collate(mixed), differentiable=True)
    assert (parts["energy"].count, parts["hessian_row"].count) == (1, 24)
    assert [sum(aim.counts(r)[name] for r in mixed) for name in ("energy", "hessian_row")] == [1, 24]
    parts["hessian_row"].loss.backward()
    (parameter,) = potential.parameters()
    assert parameter.grad is not None
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[2] += sign * 1e-6
            sides.append(float(aim.loss(potential, collate(mixed), differentiable=False)["hessian_row"].loss))
            parameter[2] -= sign * 1e-6
    assert float(parameter.grad[2]) == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4)


def test_a_row_without_its_direction_is_refused() -> None:
    (record,) = hessian_rows(learner(), copper(1, seed=5))
    lost = Record(record.system, {"hessian_row": record.labels["hessian_row"]})
    with pytest.raises(DataError, match=r"E-LABEL-MISSING.*displacement"):
        errors(learner(), collate([lost]), ("hessian_row",))


def water(**labels: torch.Tensor) -> Record:
    system = System.single([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [8, 1, 1])
    return Record(system, {name: label.double() for name, label in labels.items()})


def test_charges_moments_and_dipoles_are_learned_from_their_heads() -> None:
    shape = MACEConfig(
        channels=4, lmax=1, hidden_lmax=0, correlation=2, heads=("charges", "magnetic_moments", "dipole")
    )
    model = build(shape, elements=[1, 8, 29], reference_energies=[dict.fromkeys((1, 8, 29), 0.0)])
    up = torch.tensor([0.5, -0.2, 0.0])
    record = water(charges=up, magnetic_moments=up, dipole=torch.tensor([0.1, 0.2, 0.0]))
    names = ("charges", "magnetic_moments", "dipole")
    batch = collate([record, *copper(1, seed=5)])  # a crystal has no dipole, and is no obstacle to that of the molecule
    parts = FitLabels(dict.fromkeys(names, 1.0)).loss(model, batch, differentiable=True)
    assert {name: part.count for name, part in parts.items()} == dict.fromkeys(names, 3)
    predicted = evaluate(model, record.system, names)
    torch.testing.assert_close(parts["charges"].loss.detach(), (predicted["charges"] - up).square().sum())
    moments = (predicted["magnetic_moments"] - up.abs()).square().sum()  # reversed moments are the same state
    torch.testing.assert_close(parts["magnetic_moments"].loss.detach(), moments)
    per_atom = (predicted["dipole"][0] - record.labels["dipole"]) / 3
    torch.testing.assert_close(parts["dipole"].loss.detach(), per_atom.square().sum())
    sum(part.loss for part in parts.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for name, p in model.named_parameters() if name.startswith("heads.dipole"))
