"""Thermal expansion: none of a harmonic lattice, Grüneisen's relation, laws at low and high temperature, refusals."""

import pytest
import torch
from torch import Tensor

from groundstate.atoms import Geometry, OptionError, System
from groundstate.atoms.units import BOLTZMANN, GIGAPASCAL
from groundstate.potentials import Energy, Model, Potential, Term
from groundstate.simulation.properties import (
    EOSConfig,
    Outcome,
    PhononConfig,
    QHAConfig,
    ThermalExpansion,
    quasi_harmonic,
)
from toys import fcc, lennard_jones

pytest.importorskip("phonopy")
HARMONIC = PhononConfig(supercell=((2, 0, 0), (0, 2, 0), (0, 0, 2)), mesh_length=40.0, points_per_segment=5)


class Springs(Term):
    """½k r² between nearest neighbours, whose force constants do not know the volume, and a well in the volume."""

    cutoff = 3.1
    reaches_contact = True

    def forward(self, system: System, geometry: Geometry, outputs: dict[str, Tensor]) -> Energy:
        edges = geometry.edges(self.cutoff)
        pairs = Energy.of_atoms(system, 0.25 * 2.0 * edges.sum_to_receivers(edges.distances**2))
        per_atom = torch.linalg.det(system.cell).abs() / system.atoms_per_system
        well = 0.15 * (per_atom - 14.5) ** 2 - 1.9 * per_atom
        return pairs + Energy(well * system.atoms_per_system)


@pytest.fixture(scope="module")
def springs() -> Potential:
    return Model(None, {}, {"springs": Springs()}, description={"kind": "toy-springs"})


def test_a_harmonic_lattice_does_not_expand_and_has_one_heat_capacity(springs: Potential) -> None:
    volumes = EOSConfig(lowest=0.97, highest=1.03, points=5, largest_residual=0.5)
    config = QHAConfig(volumes=volumes, phonons=HARMONIC, highest_K=2000.0, step_K=50.0)
    (outcome,) = quasi_harmonic(fcc(lattice_constant=3.6), springs, config)
    found = outcome.unwrap()
    assert float(found.expansion.abs().max()) < 1e-7
    assert torch.allclose(found.volume, found.volume[0].expand_as(found.volume), rtol=1e-6)
    assert torch.allclose(found.heat_capacity_P, found.heat_capacity_V, atol=1e-9)
    assert float(found.heat_capacity_P[-1]) == pytest.approx(3 * BOLTZMANN, rel=0.01)


@pytest.fixture(scope="module")
def copper() -> Outcome[ThermalExpansion]:
    volumes = EOSConfig(lowest=0.985, highest=1.045, points=6)
    config = QHAConfig(volumes=volumes, phonons=HARMONIC, highest_K=400.0, step_K=5.0)
    return quasi_harmonic(fcc(lattice_constant=3.6), lennard_jones(cutoff=4.5), config)[0]


def test_expansion_obeys_grueneisen_and_the_range_is_respected(copper: Outcome[ThermalExpansion]) -> None:
    found = copper.unwrap()
    assert "expands beyond the volumes" in " ".join(copper.notes)
    assert float(found.temperatures_K[-1]) < 400.0
    assert float(found.volume[-1]) < float(found.volumes[-1])
    assert bool((found.expansion[2:] > 0).all())
    k = 20  # 100 K; α = γ C_V / (B V)
    pressure = found.bulk_modulus_GPa[k] * GIGAPASCAL
    predicted = found.gruneisen[k] * found.heat_capacity_V[k] / (pressure * found.volume[k])
    assert float(found.expansion[k]) == pytest.approx(float(predicted), rel=0.02)
    assert float(found.heat_capacity_P[k]) > float(found.heat_capacity_V[k])
    assert float(found.bulk_modulus_GPa[k]) < float(found.bulk_modulus_GPa[0])


def test_heat_capacity_falls_with_the_cube_of_temperature(copper: Outcome[ThermalExpansion]) -> None:
    found = copper.unwrap()
    low, high = float(found.heat_capacity_P[4]), float(found.heat_capacity_P[5])  # 20 and 25 K
    assert high / low == pytest.approx((25 / 20) ** 3, rel=0.25)
    assert low < 0.1 * BOLTZMANN


def test_a_volume_with_imaginary_modes_is_named() -> None:
    stretched = EOSConfig(lowest=0.98, highest=1.5, points=5)
    (outcome,) = quasi_harmonic(
        fcc(lattice_constant=3.6), lennard_jones(cutoff=4.5), QHAConfig(volumes=stretched, phonons=HARMONIC)
    )
    assert outcome.problem is not None
    assert outcome.problem.code == "E-PHONONS-IMAGINARY"
    assert "at a volume of" in outcome.problem.what


def test_volumes_that_miss_the_minimum_are_refused() -> None:
    below = EOSConfig(lowest=0.97, highest=1.01, points=5, relax_first=False)
    (outcome,) = quasi_harmonic(
        fcc(lattice_constant=3.4), lennard_jones(cutoff=4.5), QHAConfig(volumes=below, phonons=HARMONIC)
    )
    assert outcome.problem is not None
    assert outcome.problem.code == "E-QHA-RANGE"


def test_options_are_checked_when_made() -> None:
    with pytest.raises(OptionError, match="vinet"):
        QHAConfig(form="vinett")
    with pytest.raises(OptionError, match="step_K"):
        QHAConfig(highest_K=20.0, step_K=10.0)
