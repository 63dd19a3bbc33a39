"""Surfaces: a line through thicknesses, broken bonds counted by hand, polar and thin slabs named."""

import pytest
import torch

from groundstate.atoms import OptionError, System
from groundstate.simulation import RelaxConfig, relax
from groundstate.simulation.builders import Settings, SurfaceConfig, surfaces
from groundstate.simulation.builders.surfaces import J_PER_M2, cut, vacuum_of
from toys import fcc, lennard_jones

POTENTIAL = lennard_jones(cutoff=4.5)


@pytest.fixture(scope="module")
def crystal() -> System:
    (result,) = relax(fcc(lattice_constant=3.55), POTENTIAL, RelaxConfig(1e-4, cell="isotropic"))
    return result.system


def binary(z_offset: float, numbers: tuple[int, int]) -> System:
    """Two interpenetrating fcc lattices: 1/2 along x is rocksalt, 1/4 along the diagonal zincblende."""
    a = 4.2 if z_offset == 0.5 else 4.35
    shift = torch.tensor([0.5, 0, 0] if z_offset == 0.5 else [0.25] * 3, dtype=torch.float64) * a
    first = fcc(numbers[0], a)
    positions = torch.cat([first.positions, first.positions + shift])
    return System.single(positions, [numbers[0]] * 4 + [numbers[1]] * 4, cell=first.cell[0], pbc=True)


def test_the_unrelaxed_energy_is_that_of_the_broken_bonds(crystal):
    config = SurfaceConfig((1, 1, 1), thicknesses=(2, 3, 4), settings=Settings(force_tolerance=1.0))
    (surface,) = surfaces(crystal, POTENTIAL, config)
    a = float(crystal.cell[0, 0, 0])
    normal = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64) / 3**0.5
    steps = torch.cartesian_prod(*[torch.arange(-3, 4)] * 3)
    vectors = steps[steps.sum(dim=1) % 2 == 0].to(torch.float64) * a / 2
    rising = vectors[(vectors @ normal > 1e-9) & (vectors.norm(dim=1) < 4.5)]
    r, depth = rising.norm(dim=1), rising @ normal
    x = (2.3 / r) ** 6
    pair = 0.8 * (x**2 - x) * (1 - (r / 4.5) ** 2) ** 3
    # A bond that rises by d is cut once for each of the layers within d: −E_pair·d/volume per area, half to each side.
    exact = -0.5 * float((pair * depth).sum()) / (a**3 / 4) * J_PER_M2
    assert surface.unrelaxed == pytest.approx(exact, rel=1e-6)
    assert surface.bulk_of_fit == pytest.approx(surface.bulk, abs=1e-6)
    assert surface.atoms == (6, 9, 12)
    assert surface.vacuum_change == pytest.approx(0.0, abs=1e-9)
    assert surface.converged
    assert not surface.warnings


def test_relaxation_lowers_the_energy_and_is_kept_on_disk(crystal, tmp_path):
    config = SurfaceConfig((1, 0, 0), thicknesses=(2, 3, 4), settings=Settings(force_tolerance=2e-3))
    (surface,) = surfaces(crystal, POTENTIAL, config, output=tmp_path)
    assert surface.energy < surface.unrelaxed
    assert surface.energy_without_thinnest == pytest.approx(surface.energy, abs=0.02)
    (again,) = surfaces(crystal, POTENTIAL, config, output=tmp_path)
    assert again.energy == pytest.approx(surface.energy, abs=1e-9)


def test_terminations_and_polarity():
    config = SurfaceConfig((1, 1, 1), thicknesses=(1, 2, 3))
    rocksalt = cut(binary(0.5, (12, 8)), SurfaceConfig((1, 0, 0), thicknesses=(1, 2, 3)))
    assert [(one.symmetric, one.polar) for one in rocksalt] == [(True, False)]
    zincblende = cut(binary(0.25, (30, 16)), config)
    assert len(zincblende) == 2
    assert all(one.polar and not one.symmetric for one in zincblende)
    for one in zincblende:
        for slab in one.slabs:
            assert vacuum_of(slab) == pytest.approx(15.0)
    with pytest.raises(OptionError, match="E-TERMINATION"):
        cut(binary(0.25, (30, 16)), SurfaceConfig((1, 1, 1), termination=5, thicknesses=(1, 2, 3)))


def test_what_is_doubtful_is_said(crystal):
    config = SurfaceConfig((1, 1, 1), thicknesses=(1, 2, 3), vacuum=3.0, settings=Settings(force_tolerance=1.0))
    (surface,) = surfaces(crystal, POTENTIAL, config)
    assert any("vacuum: slabs feel" in warning for warning in surface.warnings)
    assert any("potential reaches" in warning for warning in surface.warnings)
    assert any("not converged with the vacuum" in warning for warning in surface.warnings)
    assert not surface.converged
    short = SurfaceConfig((1, 1, 0), thicknesses=(2, 3, 4), settings=Settings(force_tolerance=1e-5, max_steps=1))
    (lost,) = surfaces(crystal, POTENTIAL, short)
    assert lost.energy is None
    assert any("no surface energy" in warning for warning in lost.warnings)


@pytest.mark.parametrize("wrong", [{"miller": (0, 0, 0)}, {"thicknesses": (2, 3)}, {"vacuum": 0.0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(OptionError):
        SurfaceConfig(**({"miller": (1, 1, 1)} | wrong))
