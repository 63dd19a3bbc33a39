"""Forces of the elastic band and the cubic between images, against their formulas."""

import pytest
import torch

from groundstate.atoms import System
from groundstate.simulation.paths.band import Bands, band_forces, climbers, spring_constants, tangents
from groundstate.simulation.paths.profile import Profile


def band(*points: tuple[float, float, float]) -> Bands:
    system = System.single(torch.tensor(points, dtype=torch.float64), [18] * len(points))
    return Bands.of(system, len(points))


def energies(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


CORNER = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 2.0, 0.0))


@pytest.mark.parametrize(
    ("values", "direction"),
    [
        ((0.0, 1.0, 2.0), (0.0, 2.0, 0.0)),  # rising: to the next
        ((2.0, 1.0, 0.0), (1.0, 0.0, 0.0)),  # falling: from the one before
        ((0.0, 3.0, 1.0), (1.0 * 2.0, 2.0 * 3.0, 0.0)),  # maximum, the next is higher: up·3 + down·2
        ((1.0, 3.0, 0.0), (1.0 * 3.0, 2.0 * 2.0, 0.0)),  # maximum, the next is lower: up·2 + down·3
        ((1.0, 1.0, 1.0), (1.0, 2.0, 0.0)),  # level
    ],
)
def test_tangents_follow_the_higher_neighbour(values, direction):
    expected = torch.tensor(direction, dtype=torch.float64)
    torch.testing.assert_close(tangents(band(*CORNER), energies(*values))[1], expected / expected.norm())


def test_forces_of_a_band():
    bands, energy = band(*CORNER), energies(0.0, 1.0, 2.0)
    forces = torch.tensor([[9.0, 9.0, 9.0], [0.5, -0.25, 1.0], [9.0, 9.0, 9.0]], dtype=torch.float64)
    springs = energies(0.0, 2.0, 3.0)
    calm, climbing = torch.tensor([False]), torch.tensor([True])
    found = band_forces(bands, energy, forces, springs, calm)
    # The tangent is y: the true force keeps x and z, the springs give 3·2 − 2·1 along y.
    torch.testing.assert_close(found.total[1], torch.tensor([0.5, 4.0, 1.0], dtype=torch.float64))
    assert float(found.total[[0, 2]].abs().max()) == 0.0
    assert float(found.slope[0, 1]) == pytest.approx(0.25)
    assert found.after[0].tolist() == pytest.approx([1.0, 2.0, 0.0])
    assert torch.equal(band_forces(bands, energy, forces, springs, climbing).total, found.total)
    top = energies(0.0, 1.0, 0.0)
    climbed = band_forces(bands, top, forces, springs, climbing).total[1]
    tangent = torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64) / 5**0.5
    torch.testing.assert_close(climbed, forces[1] - 2 * (forces[1] @ tangent) * tangent)


def test_only_an_inner_image_climbs():
    assert climbers(energies(0.0, 2.0, 1.0)).tolist() == [[False, True, False]]
    assert not bool(climbers(energies(0.0, 1.0, 2.0)).any())


def test_springs_are_stiff_at_the_top_and_soft_below_the_ends():
    springs = spring_constants(energies(0.0, 0.05, 0.5, 1.0, 0.1), 2.0, 1.0)[0].tolist()
    assert springs[3] == springs[4] == pytest.approx(2.0)
    assert springs[1] == pytest.approx(1.0)
    assert springs[2] == pytest.approx(2.0 - 0.5 / 0.9)
    assert spring_constants(energies(0.0, 0.3, 0.1), 2.0, 2.0)[0].tolist() == [2.0, 2.0, 2.0]


def test_the_cubic_is_exact_for_a_cubic():
    x = torch.tensor([0.0, 0.7, 1.5, 2.0], dtype=torch.float64)
    profile = Profile(x, x**3 - 2 * x**2, 3 * x**2 - 4 * x)
    s, energy = profile.curve(51)
    torch.testing.assert_close(energy, s**3 - 2 * s**2)
    torch.testing.assert_close(profile.at(x), profile.energy)
