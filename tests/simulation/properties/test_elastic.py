"""Elastic constants: second derivatives of the energy, the bulk modulus, symmetry, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from groundstate.atoms import System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.potentials import Potential, evaluate
from groundstate.simulation.properties import ElasticConfig, elastic_tensor
from groundstate.simulation.properties.elastic import strained, unit_strain
from groundstate.simulation.properties.tensor import averages, is_stable, rotated, symmetrised
from toys import fcc, lennard_jones

CUBIC = torch.zeros(6, 6, dtype=torch.float64)
CUBIC[:3, :3] = 60.0
CUBIC += torch.diag(torch.tensor([110.0, 110.0, 110.0, 75.0, 75.0, 75.0], dtype=torch.float64))


@pytest.fixture(scope="module")
def potential() -> Potential:
    return lennard_jones(cutoff=4.5)


def by_energy(potential: Potential, single: System, i: int, j: int, step: float = 2e-3) -> float:
    """(1/V) ∂²E/∂ε_i∂ε_j by differences of energies, GPa."""

    def energy(a: float, b: float) -> float:
        moved = strained(single, a * unit_strain(i) + b * unit_strain(j))
        return float(evaluate(potential, moved, ("energy",))["energy"])

    corners = energy(step, step) - energy(step, -step) - energy(-step, step) + energy(-step, -step)
    return corners / (4 * step**2) / float(single.volume[0]) / GIGAPASCAL


def test_constants_are_second_derivatives_of_the_energy(potential: Potential) -> None:
    (outcome,) = elastic_tensor(fcc(lattice_constant=3.6), potential, ElasticConfig(relax_ions=False))
    found = outcome.unwrap()
    for i, j in ((0, 0), (0, 1), (3, 3), (0, 3)):
        assert float(found.constants[i, j]) == pytest.approx(
            by_energy(potential, outcome.system, i, j), rel=2e-4, abs=1e-3
        )
    assert float(found.errors.max()) < 2.0
    assert found.stable
    assert found.asymmetry < 1e-3
    assert float(found.constants[0, 1]) == pytest.approx(float(found.constants[3, 3]), rel=1e-4)  # Cauchy's relation


def test_a_primitive_cell_in_any_position_gives_the_constants_of_the_crystal(potential: Potential) -> None:
    half = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]], dtype=torch.float64)
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0.0], [angle.sin(), angle.cos(), 0.0], [0.0, 0.0, 1.0]])
    tilt = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, -0.8], [0.0, 0.8, 0.6]], dtype=torch.float64)
    cell = 3.6 * half @ (turn.double() @ tilt)
    batch = System.batch([System.single([[0.0, 0.0, 0.0]], [29], cell=cell, pbc=True), fcc(lattice_constant=3.6)])
    primitive, cubic = elastic_tensor(batch, potential, ElasticConfig(relax_ions=False))
    assert torch.allclose(primitive.unwrap().constants, cubic.unwrap().constants, atol=0.05)


def test_bulk_modulus_is_that_of_hydrostatic_compression(potential: Potential) -> None:
    (outcome,) = elastic_tensor(fcc(lattice_constant=3.6), potential, ElasticConfig(relax_ions=False))
    pressures = []
    for sign in (1, -1):
        squeezed = strained(outcome.system, sign * 2e-4 * torch.eye(3, dtype=torch.float64))
        pressures.append(-float(evaluate(potential, squeezed, ("stress",))["stress"][0].trace()) / 3)
    modulus = -(pressures[0] - pressures[1]) / (2 * 6e-4) / GIGAPASCAL
    averaged = outcome.unwrap().averages
    assert averaged is not None
    assert averaged.bulk_voigt == pytest.approx(modulus, rel=1e-4)
    assert averaged.bulk_reuss == pytest.approx(averaged.bulk_voigt, rel=1e-6)


def test_relaxed_ions_never_stiffen_a_crystal(potential: Potential) -> None:
    hcp = hexagonal()
    (outcome,) = elastic_tensor(hcp, potential, ElasticConfig(force_tolerance=1e-5))
    found = outcome.unwrap()
    soft = torch.linalg.eigvalsh(found.clamped - found.constants)
    assert float(soft.min()) > -0.05
    assert float(soft.max()) > 1.0  # the second atom of hcp moves against a shear of the basal plane
    c = found.constants
    assert float(c[0, 0]) == pytest.approx(float(c[1, 1]), rel=1e-9)
    assert float(c[5, 5]) == pytest.approx(0.5 * float(c[0, 0] - c[0, 1]), rel=1e-6)


def hexagonal() -> System:
    """hcp of the pair potential."""
    a = 3.56 / np.sqrt(2)
    cell = [[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, a * np.sqrt(8 / 3)]]
    fractional = np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    return System.single(fractional @ np.array(cell), [29, 29], cell=cell, pbc=True)


def test_pressure_is_held_and_softens_or_stiffens(potential: Potential) -> None:
    free, squeezed = (
        elastic_tensor(fcc(lattice_constant=3.6), potential, ElasticConfig(relax_ions=False, pressure_GPa=p))[0]
        for p in (0.0, 10.0)
    )
    stress = evaluate(potential, squeezed.system, ("stress",))["stress"][0] / GIGAPASCAL
    assert torch.allclose(stress, -10.0 * torch.eye(3, dtype=torch.float64), atol=0.01)
    assert float(squeezed.unwrap().stress_GPa.abs().max()) < 0.01
    c, c0 = squeezed.unwrap().constants, free.unwrap().constants
    assert float(c[0, 0]) > float(c0[0, 0])
    # Wallace's B of a pair potential under pressure: B₁₂ − B₄₄ = 2p, where the energy's C would obey Cauchy's relation.
    assert float(c[0, 1] - c[3, 3]) == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (ElasticConfig(relax_ions=False, force_tolerance=0.5, largest_stress_GPa=0.01), "E-ELASTIC-STRESS"),
        (ElasticConfig(relax_ions=False, strain=0.05, largest_curvature=1e-4), "E-ELASTIC-LINEAR"),
        (ElasticConfig(relax_ions=False, max_steps=1), "E-PROPERTY-NOT-RELAXED"),
    ],
)
def test_what_would_not_be_the_constants_is_refused(potential: Potential, config: ElasticConfig, code: str) -> None:
    (outcome,) = elastic_tensor(fcc(lattice_constant=3.62), potential, config)
    assert outcome.value is None
    assert outcome.problem is not None
    assert outcome.problem.code == code


def test_one_bad_structure_harms_no_other_and_a_repeated_call_computes_nothing(
    potential: Potential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = fcc(lattice_constant=3.6)
    batch = System.batch([good.replace(cell=good.cell * 0.0), good])
    config = ElasticConfig(relax_ions=False)
    bad, fine = elastic_tensor(batch, potential, config, output=tmp_path / "run")
    assert bad.problem is not None
    assert bad.value is None
    monkeypatch.setattr("groundstate.simulation.properties.batches._together", lambda *_: pytest.fail("computed again"))
    again = elastic_tensor(batch, potential, config, output=tmp_path / "run")[1]
    assert torch.equal(again.unwrap().constants, fine.unwrap().constants)


def test_averages_of_an_isotropic_solid_are_its_moduli() -> None:
    bulk, shear = 100.0, 40.0
    constants = torch.zeros(6, 6, dtype=torch.float64)
    constants[:3, :3] = bulk - 2 * shear / 3
    constants += torch.diag(torch.tensor([2 * shear] * 3 + [shear] * 3, dtype=torch.float64))
    found = averages(constants)
    assert found is not None
    assert found.bulk_hill == pytest.approx(bulk)
    assert found.shear_reuss == pytest.approx(shear)
    assert found.anisotropy == pytest.approx(0.0, abs=1e-12)
    assert found.poisson == pytest.approx((3 * bulk - 2 * shear) / (6 * bulk + 2 * shear))


def test_rotations_and_stability() -> None:
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(rotated(CUBIC, quarter), CUBIC)
    noisy: Tensor = CUBIC.clone()
    noisy[0, 0] += 4.0
    third = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    group = torch.stack([torch.eye(3, dtype=torch.float64), third, third @ third])
    assert float(symmetrised(noisy, group)[0, 0]) == pytest.approx(170.0 + 4 / 3)
    assert is_stable(CUBIC)
    unstable = CUBIC.clone()
    unstable[:3, :3] = torch.tensor([[50.0, 60.0, 60.0], [60.0, 50.0, 60.0], [60.0, 60.0, 50.0]])
    assert averages(unstable) is None
