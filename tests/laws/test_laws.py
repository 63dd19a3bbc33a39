"""Every potential of the package obeys every law that applies to it."""

import json
import math
from dataclasses import replace

import pytest
import torch

from groundstate.atoms import OptionError, check
from groundstate.laws import LAWS, as_table, examine, precision_of, prepare
from groundstate.laws.derivatives import _Stencil
from groundstate.potentials import ZBL, Model, Potential, ReferenceEnergies, Sum
from toys import lennard_jones


def repulsion() -> Potential:
    return Model(None, {}, {"repulsion": ZBL()}, description={"kind": "repulsion"})


def references() -> Potential:
    terms = {"references": ReferenceEnergies([{29: -1234.5}])}
    return Model(None, {}, {"pair": ZBL([29]), **terms}, description={"kind": "references"})


SOUND = {
    "lennard_jones": (lennard_jones(), [29]),
    "zbl": (repulsion(), None),
    "sum": (Sum([lennard_jones(), repulsion()]), [29, 14]),
    "references": (references(), [29]),
}


STATIC = [law for law in LAWS if not law.startswith("nve")]


@pytest.mark.parametrize("name", SOUND)
def test_analytic_potentials_obey_every_law(name: str) -> None:
    potential, elements = SOUND[name]
    # Trajectories are the dear part: one potential here, all of them in the slow test below.
    laws = list(LAWS) if name == "sum" else STATIC
    results = examine(potential, laws=laws, elements=elements)
    assert [result.law for result in results] == laws
    assert all(result.passed for result in results), [r for r in results if not r.passed]


@pytest.mark.parametrize("seed", [1, 2])
def test_verdicts_do_not_hang_on_the_seed(seed: int) -> None:
    results = examine(lennard_jones(), laws=STATIC, elements=[29], seed=seed)
    assert all(result.passed for result in results), [r for r in results if not r.passed]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_trajectories_pass_whatever_the_seed(name: str) -> None:
    potential, elements = SOUND[name]
    for seed in range(1, 9):
        results = examine(potential, laws=["nve_order", "nve_drift"], elements=elements, seed=seed)
        assert all(result.passed for result in results), (seed, results)


def test_an_examination_is_reproducible() -> None:
    laws = ["rotation", "forces", "cutoff"]
    first, second = (examine(lennard_jones(), laws=laws, elements=[29], seed=4) for _ in range(2))
    assert first == second
    other = examine(lennard_jones(), laws=laws, elements=[29], seed=5)
    assert [r.measured for r in first] != [r.measured for r in other]


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="'rotation'"):
        examine(lennard_jones(), laws=["rotatoin"])
    with pytest.raises(OptionError, match="'float32'"):
        examine(lennard_jones(), laws=["rotation"], precision="float23")
    with pytest.raises(OptionError, match="E-LAWS-ELEMENTS"):
        examine(lennard_jones(), laws=["rotation"], elements=[])


def test_results_come_in_the_order_of_the_table_and_one_at_a_time() -> None:
    seen: list[str] = []
    results = examine(
        lennard_jones(), laws=["translation", "determinism"], elements=[29], progress=lambda r: seen.append(r.law)
    )
    assert seen == [r.law for r in results] == ["determinism", "translation"]


def test_the_table_is_plain_data() -> None:
    nowhere = Model(None, {}, {"references": ReferenceEnergies([{29: -3.0}])}, description={"kind": "nowhere"})
    nowhere.terms["references"].cutoff = 2.0
    rows = as_table(examine(nowhere, laws=["determinism", "repulsion", "nve_drift"], elements=[29]))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["verdict"] for row in rows] == ["pass", "FAIL", "does not apply"]
    assert "free flight" in str(rows[2]["detail"])
    assert rows[2]["passed"] is None
    assert rows[2]["measured"] is None


def test_specimens_are_acceptable_structures_of_known_elements() -> None:
    for elements in ([1], [55, 9], [6, 1, 8]):
        specimens = prepare(lennard_jones(), elements=elements, seed=3)
        for system in specimens.structures.values():
            check(system)
            assert set(system.numbers.tolist()) <= set(elements)
        assert (
            float(torch.linalg.det(specimens["left_handed"].cell[0]))
            < 0
            < float(torch.linalg.det(specimens["bulk"].cell[0]))
        )
        assert torch.equal(specimens["slab_zero_c"].cell[0, 2], torch.zeros(3, dtype=torch.float64))


def test_precision_is_that_of_the_coarsest_parameter() -> None:
    potential = lennard_jones()
    specimens = prepare(potential, elements=[29])
    assert precision_of(potential, specimens).name == "float64"
    potential.register_parameter("weight", torch.nn.Parameter(torch.zeros(1, dtype=torch.float32)))
    assert precision_of(potential, specimens).name == "float32"
    potential.register_parameter("rough", torch.nn.Parameter(torch.zeros(1, dtype=torch.float16)))
    with pytest.raises(OptionError, match="float16"):
        precision_of(potential, specimens)


def test_the_finite_difference_is_exact_for_a_polynomial_of_degree_six() -> None:
    stencil = _Stencil.reaching(0.1)
    t = stencil.displacements
    energies = 3 + 2 * t - t**2 + 5 * t**3 + t**4 - 7 * t**5 + t**6
    assert math.isclose(stencil.slope(energies), 2.0, rel_tol=1e-11)


def test_conditions_a_potential_needs_are_stated() -> None:
    class Demanding(Potential):
        domain = replace(lennard_jones().domain, charge="needs", multiplicity="needs", theory="needs")
        cutoff, theories = 4.0, ()

        def describe(self):
            return {"kind": "demanding"}

        def forward(self, system, geometry):
            raise NotImplementedError

    for system in prepare(Demanding(), elements=[1, 6]).structures.values():
        check(system, Demanding().domain)
        assert system.charge is not None
