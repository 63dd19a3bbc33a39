"""Linear experts: mixed by what a structure is made of, by nothing that moves, and one matrix once that is fixed."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from groundstate.atoms import LevelOfTheory, ModelError, OptionError, System, UndefinedPropertyError
from groundstate.laws import examine
from groundstate.laws.specimens import repeated
from groundstate.potentials import Model, Potential, Sum, checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig, MACETrunk, merged_at
from groundstate.potentials.mace.plain import in_plain_torch
from groundstate.simulation.analysis.heat import heat_flux
from small_mace import ELEMENTS, cluster, crystal, dimer, small
from toys import lennard_jones

WANT = ("energy", "forces", "strain_gradient", "energies")
NATIVE: dict[str, Any] = {"channels": 32, "lmax": 2, "hidden_lmax": 1, "correlation": 2, "average_neighbours": 8.0}
"""A shape that kernels are made for; four channels run in plain torch."""
SEES: dict[str, Any] = {"charge": "accepts", "multiplicity": "accepts"}


def trunk_of(potential: Potential) -> MACETrunk:
    assert isinstance(potential, Model)
    assert isinstance(potential.trunk, MACETrunk)
    return potential.trunk


def rows_of(model: Model, system: System) -> Tensor:
    trunk = trunk_of(model)
    assert trunk.gate is not None
    found = trunk.gate.globals_of(system, trunk.classes(system))
    return found.rows[list(found.groups)]


def shares_of(model: Model, system: System) -> Tensor:
    gate = trunk_of(model).gate
    assert gate is not None
    shares: Tensor = gate(rows_of(model, system)).detach()
    return shares


def same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-12) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def batch() -> System:
    return System.batch([crystal(), cluster(), crystal(seed=1, pbc=[True, True, False]), dimer(1, 8, 1.1)])


# --- the mixture


def test_no_experts_are_the_model_as_it_was() -> None:
    model = small()
    assert "experts" not in model.describe()["config"]
    assert not any("gate" in name for name in model.state_dict())
    assert MACEConfig.from_dict(model.describe()["config"]).experts == 0


@pytest.mark.parametrize("shape", [{}, NATIVE], ids=["plain", "kernels"])
def test_equal_experts_are_the_plain_model(shape: dict[str, Any]) -> None:
    """Whatever the gate says."""
    plain, several = small(**shape), small(**shape, experts=3)
    state = several.state_dict()
    for name, value in plain.state_dict().items():
        state[name] = value.expand_as(state[name])
    several.load_state_dict(state)
    assert float(shares_of(several, batch()).std(dim=0).max()) > 1e-3
    same(evaluate(several, batch(), WANT), evaluate(plain, batch(), WANT))


@pytest.mark.parametrize("shape", [{}, NATIVE], ids=["plain", "kernels"])
def test_a_batch_answers_as_its_structures_do_alone(shape: dict[str, Any]) -> None:
    model = small(**shape, experts=3)
    together = evaluate(model, batch(), WANT)
    alone = [evaluate(model, one, WANT) for one in batch()]
    same(together, {name: torch.cat([one[name] for one in alone]) for name in WANT}, 1e-11)


def test_kernels_give_what_plain_torch_gives() -> None:
    model = small(**NATIVE, experts=3)
    for differentiable in (False, True):
        found = evaluate(model, batch(), WANT, differentiable=differentiable)
        expected = evaluate(in_plain_torch(model), batch(), WANT)
        same({name: value.detach() for name, value in found.items()}, expected, 1e-11)


def test_shares_know_no_order_no_supercell_no_position() -> None:
    model = small(experts=4, **SEES)
    one = crystal(charge=1.0, multiplicity=3)
    order = torch.tensor([2, 0, 1])
    turned = one.replace(positions=one.positions[order], numbers=one.numbers[order], masses=one.masses[order])
    assert torch.equal(rows_of(model, one), rows_of(model, turned))
    large = repeated(one, (3, 2, 1)).replace(charge=torch.tensor([6.0]).double(), multiplicity=torch.tensor([13]))
    assert torch.equal(rows_of(model, one), rows_of(model, large))
    assert torch.equal(shares_of(model, one), shares_of(model, crystal(seed=7, charge=1.0, multiplicity=3)))


def test_shares_know_composition_charge_spin_and_theory() -> None:
    model = small(experts=4, theories=2, **SEES)
    plain = crystal(charge=0.0, multiplicity=1, theory=0)
    assert torch.equal(shares_of(model, plain), shares_of(model, crystal()))  # not given: neutral, singlet, the first
    others = [
        System.single(plain.positions, [14, 8, 8], cell=plain.cell, pbc=True),
        crystal(charge=1.0),
        crystal(multiplicity=3),
        crystal(theory=1),
    ]
    for other in others:
        assert float((shares_of(model, other) - shares_of(model, plain)).abs().max()) > 1e-3
    torch.testing.assert_close(shares_of(model, plain).sum(dim=1), torch.ones(1, dtype=torch.float64))


def test_a_loss_on_forces_reaches_experts_and_gate() -> None:
    models = [small(**shape, experts=3) for shape in ({}, NATIVE)]
    for model in models:
        # Heads see the trunk, so the gate is reached through the matrices it mixes.
        forces = evaluate(model, batch(), ("forces",), differentiable=True)["forces"]
        forces.square().sum().backward()
        reached = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
        assert reached == {name for name, _ in model.named_parameters()}


def test_gradients_by_gate_and_experts_are_differences() -> None:
    model = small(experts=3, channels=3)

    def loss(differentiable: bool = False) -> Tensor:
        found = evaluate(model, batch(), ("energy", "forces"), differentiable=differentiable)
        return found["energy"].mean() + found["forces"].square().sum()

    loss(differentiable=True).backward()
    for name in ("trunk.gate.weights.0", "trunk.gate.weights.2", "trunk.layers.1.down.weights.1"):
        parameter = model.get_parameter(name)
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        expected, step, sides = float((parameter.grad * direction).sum()), 1e-5, []
        for sign in (1.0, -2.0):
            with torch.no_grad():
                parameter += sign * step * direction
            sides.append(float(loss()))
        with torch.no_grad():
            parameter += step * direction
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(expected, rel=1e-5, abs=1e-7)


KEPT = ("rotation", "reflection", "permutation", "lattice_choice", "batch", "supercell", "isolated_atom", "forces")


def test_laws_hold_but_that_unlike_fragments_add_up() -> None:
    laws = (*KEPT, "stress", "size_consistency")
    results = {r.law: r for r in examine(small(experts=3, channels=2, **SEES), laws=laws, elements=ELEMENTS)}
    assert len(results) == len(laws)
    assert [law for law, result in results.items() if result.passed is not True] == ["size_consistency"]
    assert "molecule and atom" in results["size_consistency"].detail
    assert results["size_consistency"].measured > 10 * results["size_consistency"].tolerance


def test_fragments_of_one_composition_add_up_and_lone_atoms_keep_their_reference() -> None:
    model = small(experts=3)

    def beside(first: System, second: System) -> System:
        away = torch.tensor([0.0, 0.0, 500.0], dtype=torch.float64)
        positions = torch.cat([first.positions, second.positions + away])
        return System.single(positions, torch.cat([first.numbers, second.numbers]))

    def energy(system: System) -> float:
        return float(evaluate(model, system, ("energy",))["energy"])

    water, other = dimer(1, 8, 1.0), dimer(8, 1, 1.2)
    assert energy(beside(water, other)) == pytest.approx(energy(water) + energy(other), abs=1e-11)
    unlike = dimer(8, 14, 1.6)
    assert abs(energy(beside(water, unlike)) - energy(water) - energy(unlike)) > 1e-4
    atoms = [System.single([[0.0, 0.0, 0.0]], [z]) for z in (1, 14)]
    assert energy(beside(*atoms)) == pytest.approx(energy(atoms[0]) + energy(atoms[1]), abs=1e-11)


def test_an_unfolded_crystal_has_another_composition_and_no_heat_flux() -> None:
    with pytest.raises(UndefinedPropertyError, match="E-HEAT-FLUX-REACH"):
        heat_flux(small(experts=3), crystal(), torch.ones(3, 3, dtype=torch.float64), depth=2)


# --- merged


@pytest.mark.parametrize("shape", [{}, NATIVE], ids=["plain", "kernels"])
@pytest.mark.parametrize("theory", [0, 1])
def test_merged_is_the_mixture(shape: dict[str, Any], theory: int, tmp_path: Path) -> None:
    model = small(**shape, experts=4, theories=2, **SEES)
    asked = crystal(charge=1.0, multiplicity=2, theory=theory)
    merged = merged_at(model, asked)
    assert trunk_of(merged).gate is None
    assert trunk_of(merged).config == replace(trunk_of(model).config, experts=0)
    assert merged.theories == model.theories[theory : theory + 1]
    assert merged.describe()["merged"]["of"] == model.fingerprint()
    moved = crystal(seed=5, charge=1.0, multiplicity=2, theory=theory)
    for mixture in (model, in_plain_torch(model)):
        same(evaluate(merged, moved.replace(theory=None), WANT), evaluate(mixture, moved, WANT), 1e-11)
    large = repeated(moved, (2, 1, 1)).replace(charge=torch.tensor([2.0]).double(), multiplicity=torch.tensor([3]))
    stress = evaluate(merged, large.replace(theory=None), ("stress",))
    same(stress, evaluate(model, large, ("stress",)), 1e-11)
    checkpoint.save(merged, tmp_path / "merged.safetensors")
    loaded = checkpoint.load(tmp_path / "merged.safetensors")
    assert loaded.fingerprint() == merged.fingerprint()
    same(evaluate(loaded, moved.replace(theory=None), WANT), evaluate(merged, moved.replace(theory=None), WANT))
    with pytest.raises(ModelError, match="E-EXPERTS-COMPOSITION"):
        evaluate(loaded, crystal())


def test_a_merged_model_refuses_what_it_was_not_merged_for() -> None:
    model = small(experts=3, theories=2, charge="accepts", multiplicity="accepts")
    merged = merged_at(model, crystal())
    assert merged.domain.elements == {1, 8, 14}
    h2o_like = System.single(crystal().positions, [14, 8, 8], cell=crystal().cell, pbc=True)
    for other in (h2o_like, crystal(charge=1.0), crystal(multiplicity=3), System.batch([crystal(), h2o_like])):
        with pytest.raises(ModelError, match=f"E-EXPERTS-COMPOSITION: .*{model.fingerprint()}") as refused:
            evaluate(merged, other)
        assert refused.value.frame == other.n_systems - 1
    with pytest.raises(ModelError, match="E-EXPERTS-THEORY"):
        evaluate(merged, crystal(theory=1))
    assert evaluate(merged, crystal(charge=0.0, multiplicity=1, theory=0))["energy"].shape == (1,)


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(OptionError, match="E-EXPERTS-NONE"):
        merged_at(small(), crystal())
    with pytest.raises(OptionError, match="E-EXPERTS-NONE"):
        merged_at(lennard_jones(), crystal())
    model = small(experts=2)
    with pytest.raises(OptionError, match="E-EXPERTS-SEVERAL"):
        merged_at(model, batch())
    assert isinstance(merged_at(model, System.batch([crystal(), crystal(seed=3)])), Model)


def test_a_sum_is_merged_part_by_part() -> None:
    both = Sum([small(experts=2), small(seed=3)])
    merged = merged_at(both, crystal())
    same(evaluate(merged, crystal()), evaluate(both, crystal()))
    assert merged.describe()["parts"][1] == both.describe()["parts"][1]


def test_a_model_moved_to_double_precision_is_merged_there() -> None:
    model = small(experts=3, dtype="float32")
    double = deepcopy(model).double()
    exact, merged = evaluate(double, crystal(), WANT), merged_at(double, crystal())
    same(evaluate(merged, crystal(), WANT), exact, 1e-11)


# --- the merged form a trunk keeps for itself


def test_runs_at_one_composition_use_the_engine() -> None:
    model = small(**NATIVE, experts=3)
    trunk, merges = trunk_of(model), []
    inner = trunk.merged
    trunk.merged = lambda row: merges.append(row) or inner(row)  # type: ignore[method-assign,func-returns-value]
    if not model.native:
        pytest.skip("no compiler here")
    for seed in range(3):
        evaluate(model, crystal(seed=seed))
    assert len(merges) == 1
    evaluate(model, System.batch([crystal(seed=1), crystal(seed=2)]))
    assert len(merges) == 1
    evaluate(model, batch())  # mixed differently: on operators
    assert len(merges) == 1
    evaluate(model, dimer(1, 8, 1.0))
    assert len(merges) == 2


def test_changed_weights_are_seen() -> None:
    model, system = small(**NATIVE, experts=3), crystal()
    before = evaluate(model, system)["energy"]
    for name in ("trunk.gate.weights.2", "trunk.layers.0.mix.weights.0", "trunk.embedding"):
        with torch.no_grad():
            model.get_parameter(name).mul_(1.1)
        after = evaluate(model, system)
        assert float((after["energy"] - before).abs()) > 1e-7
        same(after, evaluate(in_plain_torch(model), system), 1e-11)
        before = after["energy"]


def test_a_move_to_double_precision_is_seen() -> None:
    model, system = small(**NATIVE, experts=3, dtype="float32"), crystal()
    evaluate(model, system)
    model.double()
    same(evaluate(model, system), evaluate(in_plain_torch(model), system), 1e-11)


def test_round_trip_of_the_mixture(tmp_path: Path) -> None:
    model = small(experts=3, theories=2)
    checkpoint.save(model, tmp_path / "m.safetensors")
    again = checkpoint.load(tmp_path / "m.safetensors")
    assert again.fingerprint() == model.fingerprint()
    assert again.theories == (LevelOfTheory("PBE"), LevelOfTheory("r2SCAN"))
    same(evaluate(again, batch(), WANT), evaluate(model, batch(), WANT))
