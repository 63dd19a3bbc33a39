"""The laws a MACE obeys whatever its weights."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from groundstate.atoms import ModelError, System
from groundstate.potentials import Model, evaluate, hessian
from groundstate.potentials.mace import rebuild
from small_mace import ELEMENTS, REFERENCES, SHAPES, cluster, crystal, dimer, small

WANT = ("energy", "forces", "strain_gradient")


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> Model:
    return small(**request.param)


@pytest.fixture(params=["rotation", "reflection"])
def frame(request: pytest.FixtureRequest) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    matrix = matrix * torch.linalg.det(matrix).sign()
    return matrix if request.param == "rotation" else -matrix


def same(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)


# --- symmetry


def test_frame_does_not_matter(model: Model, frame: Tensor) -> None:
    system = System.batch([cluster(), crystal()])
    turned = system.replace(positions=system.positions @ frame.T, cell=system.cell @ frame.T)
    one, two = evaluate(model, system, WANT), evaluate(model, turned, WANT)
    same(two["energy"], one["energy"])
    same(two["forces"], one["forces"] @ frame.T)
    same(two["strain_gradient"], frame @ one["strain_gradient"] @ frame.T)


def test_origin_and_choice_of_images_do_not_matter(model: Model) -> None:
    system = crystal()
    images = torch.tensor([[0, 0, 0], [2, -1, 0], [0, 3, 1]], dtype=torch.float64)
    shift = torch.tensor([0.3, -7.0, 2.2], dtype=torch.float64)
    moved = system.replace(positions=system.positions + shift + images @ system.cell[0])
    for name, value in evaluate(model, system, WANT).items():
        same(evaluate(model, moved, WANT)[name], value)


def test_order_of_atoms_does_not_matter(model: Model) -> None:
    system, order = cluster(), torch.tensor([3, 0, 5, 1, 4, 2])
    ordered = System.single(system.positions[order], system.numbers[order])
    one, two = evaluate(model, system), evaluate(model, ordered)
    same(two["energy"], one["energy"])
    same(two["forces"], one["forces"][order])


def test_a_batch_equals_its_singles(model: Model) -> None:
    lone, slab = System.single([[0.0, 0.0, 0.0]], [8]), crystal(1, pbc=(True, True, False))
    singles = [cluster(), crystal(), lone, cluster(1), slab]
    batch = evaluate(model, System.batch(singles), WANT)
    alone = [evaluate(model, single, WANT) for single in singles]
    for name in WANT:
        same(batch[name], torch.cat([result[name] for result in alone]))


# --- derivatives


def test_forces_are_the_slope_of_the_energy(model: Model) -> None:
    system, step = System.batch([cluster(), crystal()]), 1e-5
    forces = evaluate(model, system, ("forces",))["forces"]
    direction = torch.randn(system.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ends = [
        evaluate(model, system.replace(positions=system.positions + sign * step * direction), ("energy",))["energy"]
        for sign in (1, -1)
    ]
    work = system.sum_over_atoms((forces * direction).sum(dim=1))
    torch.testing.assert_close((ends[1] - ends[0]) / (2 * step), work, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, True, False)])
def test_strain_gradient_is_the_slope_of_the_energy(pbc: Any) -> None:
    model, system, step = small(lmax=2, hidden_lmax=1), crystal(pbc=pbc), 1e-5
    rows = system.cell[0][torch.tensor(pbc)]
    projector = torch.linalg.pinv(rows) @ rows
    raw = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    strain = projector @ (raw + raw.T) @ projector
    energies = []
    for sign in (1, -1):
        deformation = torch.eye(3, dtype=torch.float64) + sign * step * strain
        strained = system.replace(positions=system.positions @ deformation, cell=system.cell @ deformation)
        energies.append(evaluate(model, strained, ("energy",))["energy"][0])
    gradient = evaluate(model, system, ("strain_gradient",))["strain_gradient"][0]
    slope = (energies[0] - energies[1]) / (2 * step)
    torch.testing.assert_close((gradient * strain).sum(), slope, rtol=1e-6, atol=1e-6)


def test_second_derivatives_agree_with_differences() -> None:
    model = small(lmax=2, hidden_lmax=1)
    exact = hessian(model, cluster(), method="autograd")
    torch.testing.assert_close(hessian(model, cluster(), displacement=1e-4), exact, rtol=1e-5, atol=1e-5)


def test_a_loss_on_forces_reaches_every_weight() -> None:
    """Its gradient is the slope of the loss along a random direction of all weights."""
    model, system = small(lmax=2, hidden_lmax=1, correlation=3, charge="accepts"), cluster(charge=1.0)
    weights = list(model.parameters())
    generator = torch.Generator().manual_seed(3)
    direction = [torch.randn(w.shape, dtype=w.dtype, generator=generator) for w in weights]

    def loss() -> Tensor:
        found = evaluate(model, system, differentiable=True)
        return found["forces"].square().sum() + 0.3 * found["energy"].sin().sum()

    loss().backward(inputs=weights)
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)
    slope = sum(float((w.grad * d).sum()) for w, d in zip(weights, direction, strict=True) if w.grad is not None)
    values = []
    for sign in (1, -2, 1):  # to +step, to −step, and back
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w += sign * 1e-6 * d
        values.append(float(loss().detach()))
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


# --- locality


def test_nothing_beyond_the_cutoff_and_nothing_sudden_at_it(model: Model) -> None:
    """An atom that leaves takes energy, force and their slopes with it before it is gone."""
    together, apart = dimer(14, 8, 3.999), dimer(14, 8, 4.001)
    nothing = float(evaluate(model, apart, ("energy",))["energy"]) - REFERENCES[14] - REFERENCES[8]
    assert nothing == pytest.approx(0.0, abs=1e-12)
    rest = evaluate(model, together)
    assert float(rest["energy"]) - REFERENCES[14] - REFERENCES[8] == pytest.approx(0.0, abs=1e-7)
    assert rest["forces"].abs().max() < 1e-4
    nearer = [evaluate(model, dimer(14, 8, 4.0 - gap))["forces"].abs().max() for gap in (0.01, 0.02)]
    assert float(nearer[1] / nearer[0]) > 3.5  # the force falls at least as the square of the gap


def test_an_atom_on_its_own_has_its_reference_energy_exactly(model: Model) -> None:
    alone = System.batch([System.single([[0.0, 0.0, 0.0]], [z]) for z in ELEMENTS] + [dimer(1, 14, 30.0)])
    found = evaluate(model, alone)
    assert found["energy"].tolist() == [*REFERENCES.values(), REFERENCES[1] + REFERENCES[14]]
    assert (found["forces"] == 0).all()


def test_two_far_apart_are_twice_one(model: Model) -> None:
    one = cluster()
    far = torch.tensor([50.0, 0.0, 0.0], dtype=torch.float64)
    both = System.single(torch.cat([one.positions, one.positions + far]), torch.cat([one.numbers, one.numbers]))
    same(evaluate(model, both)["energy"], 2 * evaluate(model, one)["energy"])


def test_a_supercell_has_as_many_times_the_energy(model: Model) -> None:
    one = crystal()
    double = System.single(
        torch.cat([one.positions, one.positions + one.cell[0, 1]]),
        torch.cat([one.numbers, one.numbers]),
        cell=one.cell[0] * torch.tensor([[1.0], [2.0], [1.0]], dtype=torch.float64),
        pbc=True,
    )
    same(evaluate(model, double)["energy"], 2 * evaluate(model, one)["energy"])
    assert evaluate(model, one)["energy"] != pytest.approx(sum(REFERENCES.values()), abs=1e-3)


# --- numbers and identity


def test_single_precision_agrees(model: Model) -> None:
    system = System.batch([cluster(), crystal()])
    double = evaluate(model, system)
    single = evaluate(rebuilt(model).float(), system)
    assert single["energy"].dtype == torch.float64
    scale = double["forces"].abs().max()
    torch.testing.assert_close(single["forces"] / scale, double["forces"] / scale, rtol=0, atol=2e-5)
    torch.testing.assert_close(single["energy"], double["energy"], rtol=0, atol=5e-4)


def test_description_and_weights_give_it_back(model: Model) -> None:
    again = rebuilt(model)
    assert again.fingerprint() == model.fingerprint()
    assert again.theories == model.theories
    for name, value in evaluate(model, crystal(), WANT).items():
        assert torch.equal(evaluate(again, crystal(), WANT)[name], value)


def rebuilt(model: Model) -> Model:
    again = rebuild(json.loads(json.dumps(model.describe())))
    again.load_state_dict(model.state_dict())
    return again


def test_a_description_of_something_else_is_refused() -> None:
    description = small().describe()
    with pytest.raises(ModelError, match="E-MODEL-DESCRIPTION"):
        rebuild({**description, "extra": 1})
    with pytest.raises(ModelError, match="E-MODEL-DESCRIPTION"):
        rebuild({**description, "kind": "chgnet"})


def test_the_seed_fixes_the_weights_and_leaves_the_global_state_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = small(seed=4), small(seed=4), small(seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_an_element_it_was_not_made_for_is_refused() -> None:
    with pytest.raises(ModelError, match=r"E-ELEMENT-UNSUPPORTED.*Fe.*atoms 1"):
        evaluate(small(), dimer(1, 26, 2.0))


def test_untrained_forces_have_the_size_of_the_scale() -> None:
    """Training starts from numbers of the right order, whatever the shape and the seed."""
    system = System.batch([cluster(seed) for seed in range(3)])
    loose = system.replace(positions=1.4 * system.positions)  # no atom inside another's bond
    for shape in SHAPES:
        for seed in range(3):
            model = small(
                **{**shape.values[0], "distance_transform": "covalent", "channels": 16, "radial_widths": (16,)},
                zbl=False,
                seed=seed,
            )
            assert 0.02 < float(evaluate(model, loose)["forces"].square().mean().sqrt()) < 5.0
