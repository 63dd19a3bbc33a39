"""The native engine of a MACE: what it gives is what plain torch gives."""

from copy import copy, deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from groundstate.atoms import Geometry, System, find_neighbours
from groundstate.equivariant.native import Library, Unavailable
from groundstate.potentials import Model, evaluate
from groundstate.potentials.mace import MACETrunk
from groundstate.potentials.mace.engine import engine_library, engine_of
from groundstate.potentials.mace.engine.self_test import check_engine
from small_mace import cluster, crystal, small

SHAPE: dict[str, Any] = {"channels": 32, "lmax": 2, "hidden_lmax": 1, "correlation": 2, "average_neighbours": 8.0}
WANT = ("energy", "forces", "strain_gradient", "energies")


def trunk_of(model: Model) -> MACETrunk:
    assert isinstance(model.trunk, MACETrunk)
    return model.trunk


def fast(**overrides: Any) -> Model:
    model = small(**{**SHAPE, **overrides})
    hold = trunk_of(model).radial_functions.hold
    if hold is not None:
        hold.know(torch.full((119, 119), torch.inf))  # from contact on, where some of the neighbours here are
    if engine_of(trunk_of(model)) is None:
        spec = trunk_of(model).kernel_spec()
        assert not isinstance(spec, Unavailable)
        pytest.skip(str(engine_library(spec)))
    return model


def in_plain_torch(model: Model, system: System, want: tuple[str, ...]) -> dict[str, Tensor]:
    """The same model, whatever kernels are at hand."""
    plain = deepcopy(model)
    plain.trunk.forward = plain.trunk.forward_plain  # type: ignore[union-attr,method-assign]
    return evaluate(plain, system, want)


def same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, value in expected.items():
        scale = float(value.abs().max()) * (0.01 if name.startswith("energ") else 1.0)
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance * scale)


def batch() -> System:
    return System.batch([crystal(), cluster(), crystal(seed=1, pbc=[True, True, False]), cluster(seed=2)])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"layers": 1},
        {"layers": 3, "residual_first": True},
        {"hold_at_nearest": False},
        {"residual": False, "fade_at_contact": False, "distance_transform": "linear"},
        {"distance_transform": "agnesi", "envelope": "polynomial", "envelope_at": "basis"},
        {"charge": "accepts", "theories": 2},
        {"heads": ("charges",)},
    ],
    ids=["usual", "one layer", "three layers", "no hold", "linear", "a table per pair", "conditions", "further head"],
)
def test_results_are_those_of_plain_torch(variant: dict[str, Any], dtype: str) -> None:
    model, system = fast(**variant, dtype=dtype), batch()
    if "charge" in variant:
        system = system.replace(
            charge=torch.tensor([0.0, 1.0, -1.0, 0.0], dtype=torch.float64), theory=torch.tensor([0, 1, 1, 0])
        )
    want = (*WANT, *variant.get("heads", ()))
    same(evaluate(model, system, want), in_plain_torch(model, system, want), 1e-11 if dtype == "float64" else 3e-5)


def test_operators_give_the_same_as_the_engine() -> None:
    """A differentiable evaluation runs on operators; its results and a loss on forces are those of plain torch."""
    model, system = fast(dtype="float64"), batch()
    plain = deepcopy(model)
    plain.trunk.forward = plain.trunk.forward_plain  # type: ignore[union-attr,method-assign]
    gradients = []
    for one in (model, plain):
        found = evaluate(one, system, WANT, differentiable=True)
        same({n: v.detach() for n, v in found.items()}, in_plain_torch(model, system, WANT), 1e-11)
        loss = found["forces"].pow(2).sum() + found["energy"].sum() + found["strain_gradient"].pow(2).sum()
        parameters = [p for p in one.parameters() if p.requires_grad]
        gradients.append(torch.autograd.grad(loss, parameters))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10 * float(theirs.abs().max()))


def test_stress_by_atom_flows_through_edges() -> None:
    model, system = fast(dtype="float64"), crystal()
    found = evaluate(model, system, ("stress", "stresses"))
    torch.testing.assert_close(found["stresses"].sum(0), found["stress"][0], rtol=1e-10, atol=1e-12)
    same(found, in_plain_torch(model, system, ("stress", "stresses")), 1e-10)


def test_edges_of_a_skin_change_nothing() -> None:
    model, system = fast(dtype="float64"), batch()
    wide = evaluate(model, system, WANT, graph=find_neighbours(system, model.cutoff + 1.5))
    same(wide, evaluate(model, system, WANT), 1e-12)


def test_changed_weights_are_seen() -> None:
    model, system = fast(dtype="float64"), crystal()
    before = evaluate(model, system)["energy"]
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    evaluate(model, system, ("energy",), differentiable=True)["energy"].sum().backward()
    optimiser.step()
    after = evaluate(model, system)
    assert float((after["energy"] - before).abs()) > 1e-6
    same(after, in_plain_torch(model, system, ("energy", "forces")), 1e-11)


def test_any_number_of_threads() -> None:
    model, system = fast(dtype="float64"), System.batch([*batch(), *batch()])
    one = evaluate(model, system, WANT)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        three, thrice = evaluate(model, system, WANT), evaluate(model, system, WANT)
    finally:
        torch.set_num_threads(threads)
    same(three, one, 1e-12)
    for name, value in three.items():
        assert torch.equal(value, thrice[name])


def test_two_evaluations_in_flight_do_not_share_a_tape() -> None:
    model = fast(dtype="float64")
    trunk, energies, leaves = trunk_of(model), [], []
    for system in (crystal(), crystal(seed=3)):
        positions = system.positions.clone().requires_grad_()
        moved = system.replace(positions=positions)
        geometry = Geometry(moved, find_neighbours(moved, model.cutoff), first_order=True)
        energies.append(sum(layer[:, 0].sum() for layer in trunk(moved, geometry).layers))
        leaves.append(positions)
    together = [torch.autograd.grad(e, p)[0] for e, p in zip(energies, leaves, strict=True)]
    for system, gradient in zip((crystal(), crystal(seed=3)), together, strict=True):
        positions = system.positions.clone().requires_grad_()
        moved = system.replace(positions=positions)
        geometry = Geometry(moved, find_neighbours(moved, model.cutoff))
        alone = sum(layer[:, 0].sum() for layer in trunk.forward_plain(moved, geometry).layers)
        torch.testing.assert_close(gradient, torch.autograd.grad(alone, positions)[0], rtol=1e-10, atol=1e-10)


def test_a_coordinate_that_is_not_a_number_comes_out_as_one_that_is_not() -> None:
    model, system = fast(dtype="float32"), cluster()
    graph = find_neighbours(system, model.cutoff)
    positions = system.positions.clone()
    positions[2, 0] = torch.nan
    found = evaluate(model, system.replace(positions=positions), graph=graph)
    assert bool(found["energy"].isnan().all())


def test_an_engine_that_is_wrong_is_found() -> None:
    spec = trunk_of(fast()).kernel_spec()
    assert not isinstance(spec, Unavailable)
    library = engine_library(spec)
    assert isinstance(library, Library)
    assert check_engine(spec, library) is None
    wrong = copy(library)
    vars(wrong)["engine_backward"] = lambda *arguments: None
    assert "gradient" in (check_engine(spec, wrong) or "")


def test_without_kernels_plain_torch_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, system = fast(dtype="float64"), crystal()
    expected = evaluate(model, system, WANT)
    monkeypatch.setenv("GROUNDSTATE_NATIVE", "off")
    assert engine_of(trunk_of(model)) is None
    same(evaluate(model, system, WANT), expected, 1e-11)


def test_why_there_are_no_kernels() -> None:
    for overrides, words in (({"channels": 20}, "channels"), ({"radial_knots": 0}, "tabulated"), ({"lmax": 5}, "lmax")):
        spec = trunk_of(small(**{**SHAPE, **overrides})).kernel_spec()
        assert isinstance(spec, Unavailable)
        assert words in spec.reason
