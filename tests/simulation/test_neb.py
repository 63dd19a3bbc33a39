"""Minimum energy paths: analytic saddles, an independent code, a batch equal to its singles, honest ends."""

import pytest
import torch
from ase.mep import NEB
from ase.optimize import FIRE

from analytic_surfaces import MINIMA, SADDLES, SCALE, ase_twin, atom, muller_brown, vacancy_hop
from groundstate.atoms import OptionError, System
from groundstate.simulation import RelaxConfig, relax
from groundstate.simulation.paths import NEBConfig, neb
from toys import lennard_jones


def test_both_saddles_of_muller_and_brown():
    starts = System.batch([atom(*MINIMA[0]), atom(*MINIMA[1])])
    ends = System.batch([atom(*MINIMA[1]), atom(*MINIMA[2])])
    config = NEBConfig(images=9, force_tolerance=1e-4, max_steps=2000, verify=True)
    results = neb(starts, ends, muller_brown(), config)
    for result, (x, y, height), first in zip(results, SADDLES, MINIMA[:2], strict=True):
        assert result.converged, result.reason
        assert result.images[result.saddle].positions[0].tolist() == pytest.approx([x, y, 0.0], abs=1e-3)
        assert result.barrier_forward == pytest.approx(SCALE * (height - first[2]), abs=1e-6)
        assert result.modes.negative == 1
        assert result.barrier_forward - result.barrier_backward == pytest.approx(result.reaction_energy, abs=1e-12)
        assert not result.warnings


def test_the_cubic_finds_the_barrier_where_no_image_climbs():
    config = NEBConfig(images=11, force_tolerance=1e-3, max_steps=2000, climb=False)
    (result,) = neb(atom(*MINIMA[1]), atom(*MINIMA[2]), muller_brown(), config)
    assert result.converged
    assert not result.climbed
    assert any("no image climbed" in note for note in result.notes)
    assert result.barrier_forward == pytest.approx(SCALE * (SADDLES[1][2] - MINIMA[1][2]), abs=2e-3)


def test_a_minimum_on_the_way_is_named():
    config = NEBConfig(images=15, force_tolerance=0.01, max_steps=2000)
    (result,) = neb(atom(*MINIMA[0]), atom(*MINIMA[2]), muller_brown(), config)
    assert result.converged
    assert any("another minimum" in warning for warning in result.warnings)


def test_springs_that_soften_gather_images_at_the_saddle():
    even = NEBConfig(images=9, force_tolerance=1e-3, max_steps=2000, climb=False)
    soft = NEBConfig(images=9, force_tolerance=1e-3, max_steps=2000, climb=False, softest_spring=0.2)
    (one,), (other,) = (neb(atom(*MINIMA[0]), atom(*MINIMA[1]), muller_brown(), c) for c in (even, soft))
    widths = [result.profile.coordinate.diff() for result in (one, other)]
    assert float(widths[0].max() / widths[0].min()) < 1.02
    assert float(widths[1].max() / widths[1].min()) > 1.5
    assert other.barrier_forward == pytest.approx(one.barrier_forward, abs=5e-3)


def test_a_vacancy_hop_has_the_barrier_ase_finds():
    potential = lennard_jones(cutoff=4.5)
    ends = [result.system for result in relax(System.batch(vacancy_hop()), potential, RelaxConfig(1e-3))]
    (result,) = neb(*ends, potential, NEBConfig(images=5, force_tolerance=5e-3, verify=True))
    assert result.converged, result.reason
    assert result.modes.negative == 1

    images = [ase_twin(ends[0], potential) for _ in range(6)] + [ase_twin(ends[1], potential)]
    band = NEB(images, k=1.0, climb=True, method="improvedtangent")
    band.interpolate("idpp", mic=True)
    assert FIRE(band, logfile=None).run(fmax=5e-3, steps=500)
    highest = max(image.get_potential_energy() for image in images)
    assert result.barrier_forward == pytest.approx(highest - images[0].get_potential_energy(), abs=1e-3)


def test_a_batch_of_paths_equals_its_singles():
    potential = lennard_jones(cutoff=4.5)
    first = vacancy_hop()
    second = tuple(single.replace(positions=single.positions * 1.01, cell=single.cell * 1.01) for single in first)
    config = NEBConfig(images=3, force_tolerance=0.02, relax_ends=True)
    starts, ends = System.batch([first[0], second[0], first[1]]), System.batch([first[1], second[1], first[0]])
    together = neb(starts, ends, potential, config)
    packed = neb(starts, ends, potential, NEBConfig(**{**vars(config), "max_atoms_per_batch": 200}))
    for s, (result, other) in enumerate(zip(together, packed, strict=True)):
        (alone,) = neb(starts[s], ends[s], potential, config)
        assert result.converged
        assert result.steps == alone.steps == other.steps
        for one in (alone, other):
            assert result.barrier_forward == pytest.approx(one.barrier_forward, abs=1e-9)
            torch.testing.assert_close(result.images.positions, one.images.positions, rtol=0, atol=1e-7)
    assert together[0].barrier_forward == pytest.approx(together[2].barrier_backward, abs=1e-3)


def test_fixed_atoms_stay_and_the_shortest_way_leads_over_the_boundary():
    potential = lennard_jones(cutoff=4.5)
    start, end = vacancy_hop()
    end = end.replace(positions=end.positions + start.cell[0, 0])
    fixed = torch.zeros(start.n_atoms, dtype=torch.bool)
    fixed[-4:] = True
    config = NEBConfig(images=3, force_tolerance=0.05)
    (result,) = neb(start, end, potential, config, fixed_atoms=fixed)
    assert result.converged, result.reason
    for image in result.images:
        torch.testing.assert_close(image.positions[fixed], start.positions[fixed], rtol=0, atol=1e-12)
    assert float(result.profile.coordinate[-1]) < 5.0


def test_one_bad_path_harms_no_other():
    start, end = vacancy_hop()
    nan = start.replace(positions=torch.full_like(start.positions, torch.nan))
    results = neb(
        System.batch([start, nan, start]),
        System.batch([end, end, start]),
        lennard_jones(cutoff=4.5),
        NEBConfig(images=3, force_tolerance=0.05),
    )
    assert [result.status for result in results] == ["converged", "invalid", "invalid"]
    assert [result.code for result in results] == ["", "E-POSITION-NOT-FINITE", "E-PATH-SAME"]
    assert results[1].barrier_forward is None


def test_a_guess_through_an_atom_is_refused():
    start = System.single([[-2.5, 0.0, 0.0], [2.5, 0.0, 0.0], [0.0, 0.0, 0.0]], [29] * 3)
    end = start.replace(positions=start.positions[[1, 0, 2]])
    (result,) = neb(start, end, lennard_jones(), NEBConfig(images=3, interpolation="linear"))
    assert (result.status, result.code) == ("invalid", "E-PATH-OVERLAP")
    assert "idpp" in result.reason


def test_too_few_steps_are_said():
    start, end = vacancy_hop()
    (result,) = neb(start, end, lennard_jones(cutoff=4.5), NEBConfig(images=3, max_steps=2, force_tolerance=1e-3))
    assert (result.status, result.code) == ("max_steps", "E-PATH-STEPS")
    assert any("is no minimum" in warning for warning in result.warnings)


@pytest.mark.parametrize("wrong", [{"images": 0}, {"interpolation": "spline"}, {"spring": 1.0, "softest_spring": 2.0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(OptionError):
        NEBConfig(**wrong)


def test_a_start_without_an_end_is_refused():
    start, end = vacancy_hop()
    with pytest.raises(OptionError, match="E-PATH-PAIRS"):
        neb(System.batch([start, start]), end, lennard_jones())
