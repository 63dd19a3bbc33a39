"""Dimers: known saddles, the barrier of an elastic band, a batch equal to its singles, honest ends."""

import pytest
import torch

from analytic_surfaces import MINIMA, SADDLES, SCALE, atom, muller_brown, vacancy_hop
from groundstate.atoms import OptionError, System
from groundstate.potentials import hessian
from groundstate.simulation import RelaxConfig, relax
from groundstate.simulation.paths import NEBConfig, SaddleConfig, find_saddles, lowest_modes, neb
from groundstate.simulation.paths.dimer import SMALLEST_TURN
from toys import lennard_jones


def test_dimers_find_the_saddles_of_muller_and_brown():
    starts = System.batch([atom(-0.75, 0.8), atom(0.35, 0.2)])
    modes = torch.tensor([[-0.3, -0.9, 0.0], [-0.8, 0.5, 0.0]], dtype=torch.float64)
    config = SaddleConfig(force_tolerance=1e-4, max_steps=300, torque_tolerance=1e-3, rotations=6, displacement=0.0)
    results = find_saddles(starts, muller_brown(), config, modes=modes)
    for result, (x, y, height) in zip(results, SADDLES, strict=True):
        assert result.converged, result.reason
        assert result.system.positions[0].tolist() == pytest.approx([x, y, 0.0], abs=1e-4)
        assert result.energy == pytest.approx(SCALE * height, abs=1e-6)
        assert result.negative == 1
        matrix = hessian(muller_brown(), result.system, method="autograd")
        values, vectors = torch.linalg.eigh(matrix)
        assert result.curvature == pytest.approx(float(values[0]), rel=5e-2)
        # Turns below SMALLEST_TURN are not made: the cosine is right to half its square.
        assert abs(float(vectors[:, 0] @ result.mode.reshape(-1))) > 1 - 2 * SMALLEST_TURN**2


def test_a_search_that_climbs_away_is_given_up():
    uphill = torch.tensor([[-0.3, -0.9, 0.0]], dtype=torch.float64)
    (result,) = find_saddles(atom(*MINIMA[0]), muller_brown(), SaddleConfig(max_rise=0.3), modes=uphill)
    assert (result.status, result.code) == ("diverged", "E-SADDLE-LOST")


def test_a_dimer_finds_the_saddle_of_an_elastic_band():
    potential = lennard_jones(cutoff=4.5)
    ends = [result.system for result in relax(System.batch(vacancy_hop()), potential, RelaxConfig(1e-3))]
    (path,) = neb(*ends, potential, NEBConfig(images=3, force_tolerance=0.01))
    mode = path.images[2].positions - path.images[1].positions
    config = SaddleConfig(force_tolerance=2e-3, displacement=0.8)
    (result,) = find_saddles(ends[0], potential, config, modes=mode)
    assert result.converged, result.reason
    assert result.negative == 1
    assert result.barrier == pytest.approx(path.barrier_forward, abs=1e-3)


def test_a_batch_of_dimers_equals_its_singles():
    potential, start = lennard_jones(cutoff=4.5), vacancy_hop()[0]
    generator = torch.Generator().manual_seed(3)
    modes = torch.randn(3 * start.n_atoms, 3, generator=generator, dtype=torch.float64)
    config = SaddleConfig(max_steps=15, verify=False)
    together = find_saddles(System.batch([start] * 3), potential, config, modes=modes)
    for result, mode in zip(together, modes.split(start.n_atoms), strict=True):
        (alone,) = find_saddles(start, potential, config, modes=mode)
        assert (result.steps, result.rotations) == (alone.steps, alone.rotations)
        torch.testing.assert_close(result.system.positions, alone.system.positions, rtol=0, atol=1e-8)
        assert result.curvature == pytest.approx(alone.curvature, abs=1e-6)


def test_random_modes_follow_the_seed():
    start = vacancy_hop()[0]
    runs = [
        find_saddles(start, lennard_jones(cutoff=4.5), SaddleConfig(max_steps=2, seed=seed, verify=False))[0]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0].mode, runs[1].mode)
    assert not torch.allclose(runs[0].mode, runs[2].mode)
    assert runs[0].code == "E-SADDLE-STEPS"


def test_finished_searches_are_read_back(tmp_path):
    start = vacancy_hop()[0]
    nan = start.replace(positions=torch.full_like(start.positions, torch.nan))
    batch, config = System.batch([start, nan, start]), SaddleConfig(max_steps=3, verify=False)
    first = find_saddles(batch, lennard_jones(cutoff=4.5), config, output=tmp_path)
    size = (tmp_path / "results.jsonl").stat().st_size
    again = find_saddles(batch, lennard_jones(cutoff=4.5), config, output=tmp_path)
    assert (tmp_path / "results.jsonl").stat().st_size == size
    assert [result.status for result in again] == ["max_steps", "invalid", "max_steps"]
    for one, other in zip(first, again, strict=True):
        assert one.energy == other.energy
    assert torch.equal(first[0].system.positions, again[0].system.positions)
    assert torch.equal(first[2].mode, again[2].mode)


def test_modes_equal_those_of_the_whole_hessian():
    potential, start = lennard_jones(cutoff=4.5), vacancy_hop()[0]
    modes = lowest_modes(potential, start, torch.zeros(start.n_atoms, dtype=torch.bool))
    values = torch.linalg.eigvalsh(hessian(potential, start, method="autograd"))
    assert len(modes.curvature) == 3 * start.n_atoms - 3
    whole = values[values.abs() > 1e-6]
    torch.testing.assert_close(modes.curvature, whole, rtol=1e-3, atol=2e-3)
    held = torch.zeros(start.n_atoms, dtype=torch.bool)
    held[5:] = True
    part = hessian(potential, start, method="autograd")[:15, :15]
    found = lowest_modes(potential, start, held, max_atoms_per_batch=100)
    torch.testing.assert_close(found.curvature, torch.linalg.eigvalsh(part), rtol=1e-3, atol=2e-3)
    assert float(found.softest[5:].abs().max()) == 0.0


def test_modes_that_are_none_are_refused():
    with pytest.raises(OptionError, match="moves no free atom"):
        find_saddles(vacancy_hop()[0], lennard_jones(), modes=torch.zeros(31, 3, dtype=torch.float64))
    with pytest.raises(OptionError, match="E-MODES"):
        find_saddles(vacancy_hop()[0], lennard_jones(), modes=torch.zeros(2, 3, dtype=torch.float64))
