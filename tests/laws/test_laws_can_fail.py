"""Each fault is found by the law that forbids it, and by no law that does not."""

import pytest

import broken_potentials as broken
from groundstate.laws import LAWS, examine

NVE = ("nve_order", "nve_drift")
FAULTS = {
    broken.prefers_x: {"rotation", "reflection"},
    broken.is_chiral: {"reflection"},
    broken.feels_the_origin: {
        "rotation", "reflection", "translation", "wrapping", "far_from_origin", "supercell", "size_consistency",
    },
    broken.reads_the_order: {"permutation", "supercell", "size_consistency"},
    broken.rounds_positions: {"far_from_origin"},
    broken.trusts_the_hand: {"reflection", "lattice_choice"},
    broken.sees_the_skin: {"neighbours"},
    broken.leaks_in_the_batch: {"batch"},
    broken.counts_atoms_twice: {"supercell", "size_consistency", "isolated_atom"},
    broken.averages_the_system: {"size_consistency"},
    broken.divides_by_neighbours: {"size_consistency", "isolated_atom", "cutoff"},
    broken.hides_part_of_the_force: {"forces", "stress"},
    broken.hides_part_of_the_stress: {"stress"},
    broken.swirls: {"rotation", "reflection", "forces", "stress", "nve_order", "nve_drift"},
    broken.ends_abruptly: {"cutoff", "nve_order"},
    broken.bends_abruptly: {"cutoff"},
    broken.attracts_at_contact: {"repulsion"},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_breaks_its_laws_and_no_other(fault: broken.Fault) -> None:
    expected = FAULTS[fault]
    # Trajectories are the dear part; they are tried for the faults that are named for them.
    tried = [law for law in LAWS if law not in NVE or expected & set(NVE)]
    results = examine(broken.with_fault(fault), laws=tried, elements=[29, 14])
    assert {result.law for result in results if result.passed is False} == expected
    assert all(result.detail for result in results)


def test_an_answer_that_changes_is_found() -> None:
    results = examine(broken.Flickering(), laws=["determinism", "rotation", "batch"], elements=[29])
    assert [result.passed for result in results] == [False, True, True]


@pytest.mark.parametrize(("power", "passed"), [(1, True), (2, False)])
def test_charged_cells_must_be_extensive(power: int, passed: bool) -> None:
    (result,) = examine(broken.Charged(power), laws=["supercell"], elements=[29])
    assert result.passed is passed
    assert "charged cells included" in result.detail


def test_a_potential_that_raises_fails_and_the_examination_goes_on() -> None:
    results = examine(broken.Refusing(), laws=["rotation", "batch", "nve_drift"], elements=[29])
    assert [result.passed for result in results] == [False, False, None]
    assert results[0].detail == "raised ValueError: only crystals, please"


def test_a_refusal_of_the_package_keeps_its_own_words() -> None:
    potential = broken.with_fault(
        lambda system, geometry: broken.Energy.of_atoms(system, geometry.edges(9.0).distances)
    )
    (result,) = examine(potential, laws=["rotation"], elements=[29])
    assert result.passed is False
    assert result.detail.startswith("E-CUTOFF: ")


def test_a_result_that_is_not_a_number_fails() -> None:
    potential = broken.with_fault(
        lambda system, geometry: broken.Energy.of_atoms(system, system.positions.sum(dim=1) * float("nan"))
    )
    results = examine(potential, elements=[29])
    survivors = {result.law for result in results if result.passed}
    assert survivors == set()
