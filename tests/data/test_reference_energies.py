"""Reference energies: exact where they are determined, honest where they are not."""

import numpy as np
import pytest
import torch

from groundstate.atoms import GroundstateError, System
from groundstate.data import (
    Record,
    check_elements,
    check_reference_energies,
    fit_reference_energies,
    isolated_atom_energies,
)

TRUE = {1: -13.6, 6: -1030.0, 8: -2041.0}


def record(numbers: list[int], bonding: float = 0.0, energies: dict[int, float] = TRUE) -> Record:
    """Atoms in a row whose energy is that of the atoms plus `bonding` eV/atom."""
    positions = torch.zeros(len(numbers), 3, dtype=torch.float64)
    positions[:, 0] = 1.5 * torch.arange(len(numbers))
    energy = sum(energies[z] for z in numbers) + bonding * len(numbers)
    return Record(System.single(positions, numbers), {"energy": torch.tensor(energy, dtype=torch.float64)})


FORMULAE = [[1, 1, 8], [6, 8, 8], [6, 1, 1, 1, 1], [6, 6, 1, 1, 1, 1], [8, 8], [6, 8]]


def test_varied_compositions_determine_every_energy() -> None:
    fit = fit_reference_energies([record(numbers) for numbers in FORMULAE])
    assert fit.energies == pytest.approx(TRUE, abs=1e-8)
    assert (fit.rank, fit.n_elements) == (3, 3)
    assert fit.rmse_before > 100
    assert fit.rmse_after < 1e-8
    assert "every reference energy is determined" in fit.note


def test_outliers_do_not_move_the_fit() -> None:
    draw = np.random.default_rng(0)
    records = [record(FORMULAE[i % 6], bonding=0.02 * draw.standard_normal()) for i in range(120)]
    records += [record(FORMULAE[i % 6], bonding=15.0) for i in range(6)]
    fit = fit_reference_energies(records)
    assert fit.energies == pytest.approx(TRUE, abs=0.1)
    fractions = np.array([[r.system.numbers.tolist().count(z) / r.n_atoms for z in TRUE] for r in records])
    target = np.array([float(r.labels["energy"]) / r.n_atoms for r in records])
    plain = np.linalg.lstsq(fractions, target, rcond=None)[0]
    assert abs(plain - np.array(list(TRUE.values()))).max() > 5 * max(abs(fit.energies[z] - TRUE[z]) for z in TRUE)


def test_one_composition_shifts_the_priors_least() -> None:
    records = [record([6, 8], bonding) for bonding in (-0.31, -0.30, -0.29)]
    fit = fit_reference_energies(records, priors={6: -1029.0, 8: -2042.0})
    assert (fit.rank, fit.n_elements) == (1, 2)
    shift = np.array([fit.energies[6] + 1029.0, fit.energies[8] + 2042.0])
    assert shift == pytest.approx([-0.3, -0.3], abs=1e-9)
    assert fit.rmse_before == pytest.approx(0.3, abs=1e-3)
    assert "rank 1 of 2 elements" in fit.note
    without = fit_reference_energies(records)
    assert without.energies[6] == pytest.approx(without.energies[8])


def test_given_references_are_judged() -> None:
    records = [record(numbers, bonding=-0.4) for numbers in FORMULAE]
    assert check_reference_energies(records, TRUE) == pytest.approx(-0.4)
    with pytest.raises(GroundstateError, match=r"E-REFERENCE-RESIDUAL.*eV/atom on average"):
        check_reference_energies(records, {z: e / 27.2 for z, e in TRUE.items()})
    with pytest.raises(GroundstateError, match=r"E-REFERENCE-ELEMENT.*for O\."):
        check_reference_energies(records, {1: -13.6, 6: -1030.0})


def test_energies_that_no_references_explain() -> None:
    records = [record([6, 8], bonding) for bonding in (0.0, 0.01, 0.02, 0.03, 500.0)]
    with pytest.raises(GroundstateError, match="E-REFERENCE-RESIDUAL"):
        fit_reference_energies(records)


def test_no_energies() -> None:
    bare = Record(System.single([[0.0, 0, 0]], [1]))
    with pytest.raises(GroundstateError, match="E-LABEL-MISSING"):
        fit_reference_energies([bare])
    assert check_reference_energies([bare], {}) == 0.0


def test_isolated_atoms_are_told_from_primitive_cells() -> None:
    energy = {"energy": torch.tensor(-3.0, dtype=torch.float64)}
    alone = Record(System.single([[0.0, 0, 0]], [29]), energy)
    boxed = Record(System.single([[0.0, 0, 0]], [47], cell=20 * np.eye(3), pbc=True), energy)
    crystal = Record(System.single([[0.0, 0, 0]], [79], cell=2.8 * np.eye(3), pbc=True), energy)
    assert isolated_atom_energies([alone, boxed, crystal], reach=6.0) == {29: -3.0, 47: -3.0}
    other = Record(alone.system, {"energy": torch.tensor(-2.0, dtype=torch.float64)})
    with pytest.raises(GroundstateError, match="E-REFERENCE-CONFLICT"):
        isolated_atom_energies([alone, other], reach=6.0)


def test_elements_training_never_sees() -> None:
    train, other = [record([1, 8])], [record([1, 1]), record([6, 1]), record([6, 8])]
    check_elements(train, other[:1])
    with pytest.raises(GroundstateError, match=r"E-ELEMENT-UNTRAINED.*C in 2 records \(first 1\)"):
        check_elements(train, other)
