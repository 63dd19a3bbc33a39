"""Charge, spin and level of theory: seen when declared, intensive, and neutral where not given."""

import pytest
import torch

from groundstate.atoms import Domain, ModelError, System, contract
from groundstate.potentials import Model, evaluate
from small_mace import ELEMENTS, REFERENCES, cluster, crystal, dimer, small


@pytest.fixture(scope="module")
def conditioned() -> Model:
    return small(lmax=2, charge="accepts", multiplicity="accepts", theories=2, heads=("charges", "magnetic_moments"))


def energy(model: Model, system: System) -> float:
    return float(evaluate(model, system, ("energy",))["energy"][0])


def test_domain_says_what_is_seen(conditioned: Model) -> None:
    domain = conditioned.domain
    assert domain == Domain(frozenset(ELEMENTS), "accepts", "accepts", "accepts", 2, True)
    assert small(charge="needs").domain.charge == "needs"
    assert small().domain == Domain(frozenset(ELEMENTS), reaches_contact=True)


def test_conditions_change_the_energy(conditioned: Model) -> None:
    plain = energy(conditioned, cluster())
    found = [
        energy(conditioned, cluster(charge=q, multiplicity=m)) for q, m in ((1.0, 1), (-1.0, 1), (0.0, 3), (2.0, 3))
    ]
    assert len({round(value, 6) for value in [plain, *found]}) == 5


def test_not_given_is_a_neutral_singlet(conditioned: Model) -> None:
    assert energy(conditioned, cluster()) == energy(conditioned, cluster(charge=0.0, multiplicity=1))


def test_a_network_that_ignores_conditions_is_the_same_with_them() -> None:
    model = small(lmax=2)
    assert energy(model, cluster()) == energy(model, cluster(charge=1.0, multiplicity=2))
    assert not any("conditions" in name for name in model.state_dict())


def test_energy_is_smooth_in_the_charge(conditioned: Model) -> None:
    steps = [energy(conditioned, cluster(charge=0.5 + h)) for h in (-1e-3, 0.0, 1e-3)]
    assert abs(steps[0] - 2 * steps[1] + steps[2]) < 1e-4


def test_n_cells_with_n_charges_have_n_times_the_energy(conditioned: Model) -> None:
    one = crystal(charge=1.0, multiplicity=3)
    double = System.single(
        torch.cat([one.positions, one.positions + one.cell[0, 0]]),
        torch.cat([one.numbers, one.numbers]),
        cell=one.cell[0] * torch.tensor([[2.0], [1.0], [1.0]], dtype=torch.float64),
        pbc=True,
        charge=2.0,
        multiplicity=5,
    )
    assert energy(conditioned, double) == pytest.approx(2 * energy(conditioned, one), rel=1e-12)


def test_an_isolated_ion_has_the_reference_energy_exactly(conditioned: Model) -> None:
    for theory in (0, 1):
        ion = System.single([[0.0, 0.0, 0.0]], [8], charge=-2.0, multiplicity=3, theory=theory)
        assert energy(conditioned, ion) == REFERENCES[8] + theory


def test_each_structure_gets_the_level_it_asks_for(conditioned: Model) -> None:
    both = System.batch([cluster(theory=0), cluster(theory=1)])
    found = evaluate(conditioned, both, ("energy",))["energy"].tolist()
    assert found == pytest.approx([energy(conditioned, cluster(theory=t)) for t in (0, 1)], rel=1e-12)
    levels = [e - sum(REFERENCES[z] + t for z in cluster().numbers.tolist()) for t, e in enumerate(found)]
    assert levels[0] != pytest.approx(levels[1] / 2.0, rel=1e-3)  # not the same network in another scale
    assert energy(conditioned, cluster()) == found[0]
    with pytest.raises(ModelError, match="E-THEORY-UNKNOWN"):
        contract.check(cluster(theory=2), conditioned.domain)


def test_further_scalars_of_atoms(conditioned: Model) -> None:
    assert conditioned.provides == {"charges", "magnetic_moments"}
    assert small().provides == frozenset()
    found = evaluate(conditioned, System.batch([cluster(), dimer(1, 8, 9.0)]), ("charges", "magnetic_moments"))
    for values in found.values():
        assert values.shape == (8,)
        assert values.dtype == torch.float64
        assert values[:6].unique().numel() == 6
        assert (values[6:] == 0).all()
    assert not torch.equal(found["charges"], found["magnetic_moments"])
