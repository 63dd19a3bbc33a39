"""Displacements and spectra where they are known: flight, random walk, oscillators."""

import math

import pytest
import torch

from groundstate.atoms import DataError
from groundstate.simulation.analysis import Trajectory, diffusivity, msd, vacf, vibrational_spectrum
from groundstate.simulation.analysis.motion import LIGHT_cm_per_fs


def free(positions: torch.Tensor, numbers: list[int], interval: float, velocities: torch.Tensor | None = None):
    frames = len(positions)
    return Trajectory(
        positions=positions,
        cells=torch.eye(3, dtype=torch.float64).expand(frames, 3, 3) * 100,
        velocities=velocities,
        time_fs=interval * torch.arange(frames, dtype=torch.float64),
        numbers=torch.tensor(numbers),
        pbc=torch.tensor([True, True, True]),
    )


def random_walk(frames: int, atoms: int, step: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return step * torch.randn(frames, atoms, 3, generator=generator, dtype=torch.float64).cumsum(dim=0)


def test_the_fast_sum_is_the_double_sum():
    positions = random_walk(30, 5, 0.3) + 50.0
    found = msd(free(positions, [18, 18, 10, 10, 10], 1.0))
    masses = free(positions, [18, 18, 10, 10, 10], 1.0).masses
    still = positions - ((positions * masses[:, None]).sum(1) / masses.sum())[:, None]
    for lag in (0, 1, 7, 29):
        apart = ((still[lag:] - still[: len(still) - lag]) ** 2).sum(dim=2).mean(dim=0)
        assert float(found["Ar"][lag]) == pytest.approx(float(apart[:2].mean()), rel=1e-9, abs=1e-9)
        assert float(found["Ne"][lag]) == pytest.approx(float(apart[2:].mean()), rel=1e-9, abs=1e-9)


def test_a_random_walk_has_its_diffusivity_within_the_error():
    """⟨r²⟩ = 3 s² t/Δt, so D = s²/(2 Δt), less the share of the drift that is taken out."""
    step, interval, atoms = 0.05, 4.0, 60
    (found,) = diffusivity(free(random_walk(2000, atoms, step), [18] * atoms, interval))
    exact = 1e-5 * step**2 / (2 * interval) * (1 - 1 / atoms)
    assert abs(found.diffusivity_m2_per_s - exact) < 4 * found.error_m2_per_s
    assert 0 < found.error_m2_per_s < 0.15 * exact
    assert found.slope == pytest.approx(1, abs=0.12)
    assert (found.element, found.note) == ("Ar", "")


def test_flight_and_cages_are_not_called_diffusion():
    time = torch.arange(200, dtype=torch.float64)[:, None, None]
    generator = torch.Generator().manual_seed(0)
    speed = torch.randn(1, 8, 3, generator=generator, dtype=torch.float64) * 0.01
    flight, cage = free(time * speed, [18] * 8, 2.0), free(0.1 * torch.sin(0.3 * time * (1 + speed)), [18] * 8, 2.0)
    assert "power 2.00" in diffusivity(flight)[0].note
    assert "not diffusive" in diffusivity(cage)[0].note
    with pytest.raises(DataError, match="E-TRAJECTORY-SHORT"):
        diffusivity(flight.part(0, 60))


@pytest.mark.parametrize("resolution", [10.0, 40.0])
def test_oscillators_appear_at_their_wavenumber_and_count_3n(resolution):
    """Carbon at 500 cm⁻¹ and hydrogen at 3000 cm⁻¹, in equilibrium: m ω² a² = 2kT for both."""
    interval, frames, time = 2.0, 4000, 2.0 * torch.arange(4000, dtype=torch.float64)[:, None, None]
    generator = torch.Generator().manual_seed(1)
    phases = 2 * math.pi * torch.rand(1, 4, 3, generator=generator, dtype=torch.float64)
    wave = torch.tensor([500.0, 500.0, 3000.0, 3000.0], dtype=torch.float64)[None, :, None]
    omega = 2 * math.pi * LIGHT_cm_per_fs * wave
    masses = free(torch.zeros(2, 4, 3, dtype=torch.float64), [6, 6, 1, 1], 1.0).masses
    amplitude = 0.01 / masses.sqrt()[None, :, None]
    positions, velocities = (
        amplitude / omega * torch.sin(omega * time + phases),
        amplitude * torch.cos(omega * time + phases),
    )
    trajectory = free(positions, [6, 6, 1, 1], interval, velocities)
    found = vibrational_spectrum(trajectory, resolution_per_cm=resolution)
    step = float(found.wavenumber[1])
    assert float(found.density.sum()) * step == pytest.approx(12, rel=0.01)
    for name, place in (("C", 500.0), ("H", 3000.0)):
        assert float(found.wavenumber[found.by_element[name].argmax()]) == pytest.approx(place, abs=step)
        assert float(found.by_element[name].sum()) * step == pytest.approx(6, rel=0.03)
        peak = found.by_element[name]
        half = found.wavenumber[peak > 0.5 * peak.max()]
        assert float(half[-1] - half[0]) == pytest.approx(resolution, abs=2 * step)
    assert found.note == ""
    assert frames == trajectory.n_frames
    short = vibrational_spectrum(trajectory.part(0, 200), resolution_per_cm=10.0)
    assert "too short" in short.note
    with pytest.raises(DataError, match="E-TRAJECTORY-SHORT"):
        vibrational_spectrum(trajectory.part(0, 12))


def test_the_velocity_correlation_begins_with_twice_the_kinetic_energy():
    velocities = torch.randn(50, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    trajectory = free(torch.zeros(50, 3, 3, dtype=torch.float64), [6, 1, 1], 1.0, velocities)
    found = vacf(trajectory)
    masses = trajectory.masses
    twice = (masses[None, :, None] * velocities**2).sum(dim=2).mean(dim=0)
    assert float(found["C"][0]) == pytest.approx(float(twice[0]))
    assert float(found["H"][0]) == pytest.approx(float(twice[1:].sum()))
