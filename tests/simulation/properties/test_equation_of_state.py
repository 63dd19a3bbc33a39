"""Equation of state: planted curves come back, a pair potential agrees with ASE, what has no minimum is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.eos import EquationOfState as AseEOS

from groundstate.atoms import OptionError, RunError, System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.potentials import evaluate
from groundstate.simulation.properties import EOSConfig, equation_of_state
from groundstate.simulation.properties.curves import FORMS, fit_curve
from toys import fcc, lennard_jones


@pytest.mark.parametrize("form", sorted(FORMS))
def test_planted_parameters_come_back(form: str) -> None:
    volumes = torch.linspace(17.0, 23.0, 9, dtype=torch.float64)
    energies = torch.from_numpy(FORMS[form](volumes.numpy(), -7.5, 19.7, 160 * GIGAPASCAL, 4.3))
    fit = fit_curve(volumes, energies, form)
    assert fit.energy == pytest.approx(-7.5, abs=1e-9)
    assert fit.volume == pytest.approx(19.7, rel=1e-8)
    assert fit.bulk_modulus_GPa == pytest.approx(160, rel=1e-6)
    assert fit.bulk_prime == pytest.approx(4.3, rel=1e-5)
    assert fit.residual < 1e-9


@pytest.mark.parametrize("form", sorted(FORMS))
def test_parameters_are_the_derivatives_they_are_called(form: str) -> None:
    volume, bulk, step = 20.0, 1.1, 1e-2

    def pressure(at: float) -> float:
        low, high = FORMS[form](np.array([at - 1e-4, at + 1e-4]), 0.0, volume, bulk, 4.5)
        return -float(high - low) / 2e-4

    def modulus(at: float) -> float:
        return -at * (pressure(at + step) - pressure(at - step)) / (2 * step)

    assert modulus(volume) == pytest.approx(bulk, rel=1e-5)
    slope = (modulus(volume - 0.1) - modulus(volume + 0.1)) / (pressure(volume - 0.1) - pressure(volume + 0.1))
    assert slope == pytest.approx(4.5, rel=1e-3)


def test_error_bars_follow_the_scatter() -> None:
    volumes = torch.linspace(17.0, 23.0, 41, dtype=torch.float64)
    curve = torch.from_numpy(FORMS["birch_murnaghan"](volumes.numpy(), 0.0, 20.0, 1.0, 4.0))
    noise = torch.randn(41, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    small, large = (fit_curve(volumes, curve + size * noise, "birch_murnaghan") for size in (1e-4, 1e-3))
    assert large.bulk_modulus_error_GPa == pytest.approx(10 * small.bulk_modulus_error_GPa, rel=0.2)
    assert abs(large.volume - 20.0) < 4 * large.volume_error


def test_pair_potential_agrees_with_ase_and_with_the_stress() -> None:
    potential = lennard_jones(cutoff=4.5)
    (outcome,) = equation_of_state(fcc(lattice_constant=3.6), potential)
    found = outcome.unwrap()
    theirs = AseEOS(found.volumes.numpy(), found.energies.numpy(), eos="birchmurnaghan").fit(warn=False)
    assert found.best.volume == pytest.approx(theirs[0], rel=1e-6)
    assert found.best.bulk_modulus_GPa == pytest.approx(theirs[2] / GIGAPASCAL, rel=1e-4)
    assert found.space_group == "Fm-3m"
    assert found.lengths == pytest.approx([found.best.volume ** (1 / 3)] * 3, rel=1e-6)
    # B = −V dp/dV from the stress at volumes 0.2 % around the minimum.
    pressures = []
    for ratio in (0.999, 1.001):
        crystal = fcc(lattice_constant=(found.best.volume * ratio) ** (1 / 3))
        pressures.append(-float(evaluate(potential, crystal, ("stress",))["stress"][0].trace()) / 3)
    modulus = (pressures[0] - pressures[1]) / 0.002 / GIGAPASCAL
    assert found.best.bulk_modulus_GPa == pytest.approx(modulus, rel=0.02)


def test_one_bad_structure_harms_no_other(tmp_path: Path) -> None:
    good, molecule = fcc(lattice_constant=3.6), System.single([[0, 0, 0], [2.6, 0, 0]], [29, 29])
    broken = good.replace(positions=good.positions * torch.nan)
    batch = System.batch([broken, good, molecule])
    bad, fine, open_ended = equation_of_state(batch, lennard_jones(cutoff=4.5), output=tmp_path / "run")
    assert bad.problem is not None
    assert bad.problem.code == "E-POSITION-NOT-FINITE"
    assert open_ended.problem is not None
    assert open_ended.problem.code == "E-NOT-A-CRYSTAL"
    (alone,) = equation_of_state(good, lennard_jones(cutoff=4.5))
    assert fine.unwrap().best == alone.unwrap().best
    again = equation_of_state(batch, lennard_jones(cutoff=4.5), output=tmp_path / "run")
    assert torch.equal(again[1].unwrap().energies, fine.unwrap().energies)


def test_a_minimum_outside_the_range_is_refused_with_numbers() -> None:
    stretched = fcc(lattice_constant=3.8)
    (outcome,) = equation_of_state(stretched, lennard_jones(cutoff=4.5), EOSConfig(relax_first=False))
    assert outcome.problem is not None
    assert outcome.problem.code == "E-EOS-RANGE"
    assert "smallest volume" in outcome.problem.what


def test_a_curve_that_misses_the_energies_is_refused_with_numbers() -> None:
    config = EOSConfig(largest_residual=1e-6)
    (outcome,) = equation_of_state(fcc(lattice_constant=3.6), lennard_jones(cutoff=4.5), config)
    with pytest.raises(RunError, match=r"E-EOS-FIT: .* meV/atom"):
        outcome.unwrap()


def test_options_are_checked_when_made() -> None:
    with pytest.raises(OptionError, match="lowest"):
        EOSConfig(lowest=1.1)
    with pytest.raises(OptionError, match="points"):
        EOSConfig(points=3)
