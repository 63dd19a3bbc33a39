"""Constant energy is conserved to second order; Langevin dynamics samples the canonical distribution."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from groundstate.atoms import OptionError, System
from groundstate.atoms.units import BOLTZMANN, FEMTOSECOND
from groundstate.potentials import Energy, Model, Potential, Term
from groundstate.simulation import MDConfig, run_md
from groundstate.simulation.dynamics.velocities import (
    kinetic_energy,
    maxwell_boltzmann,
    without_drift,
    without_rotation,
)
from toys import fcc


class Springs(Term):
    """Every atom bound to the origin: ½ k r². Exactly solvable; k = 0 is an ideal gas."""

    def __init__(self, stiffness: float) -> None:
        super().__init__()
        self.stiffness = stiffness

    def forward(self, system, geometry, outputs):
        return Energy.of_atoms(system, 0.5 * self.stiffness * (system.positions**2).sum(dim=1))


def springs(stiffness: float) -> Potential:
    return Model(None, {}, {"springs": Springs(stiffness)}, description={"kind": "toy-springs", "k": stiffness})


def spread_out(count: int) -> System:
    """Atoms that never meet, 50 Å apart."""
    return System.single([[50.0 * k, 0, 0] for k in range(count)], [18] * count)


def warm(potential: Potential) -> System:
    return fcc(lattice_constant=3.56, repeats=1)


def test_energy_error_falls_to_a_quarter_when_the_time_step_is_halved(potential):
    scatter = []
    for timestep in (4.0, 2.0):
        config = MDConfig(steps=int(400 / timestep), timestep_fs=timestep, temperature_K=600.0, record_every=1, seed=3)
        result = run_md(warm(potential), potential, config)[0]
        total = result.samples["total"]
        scatter.append(float((total - total.mean()).std()))
        assert result.status == "completed"
        assert result.time_fs == pytest.approx(400)
        assert abs(result.drift_meV_per_atom_ps) < 0.2
    assert scatter[1] / scatter[0] == pytest.approx(0.25, rel=0.15)


def test_constant_energy_keeps_momentum_and_counts_freedom_without_it(potential):
    config = MDConfig(steps=20, timestep_fs=2.0, temperature_K=300.0, record_every=1)
    result = run_md(warm(potential), potential, config)[0]
    momentum = (result.system.masses[:, None] * result.velocities).sum(dim=0)
    assert float(momentum.abs().max()) < 1e-12
    kinetic = float(kinetic_energy(result.system, result.velocities / FEMTOSECOND)[0])
    freedom = 3 * result.system.n_atoms - 3
    assert float(result.samples["temperature_K"][-1]) == pytest.approx(2 * kinetic / freedom / BOLTZMANN, rel=1e-12)


def test_drawn_velocities_follow_maxwell_and_boltzmann():
    system = System.batch(
        [System.single(torch.zeros(4000, 3), [18] * 4000), System.single(torch.zeros(4000, 3), [2] * 4000)]
    )
    drawn = maxwell_boltzmann(
        system,
        torch.tensor([300.0, 900.0], dtype=torch.float64),
        torch.tensor([1, 2]),
        torch.zeros(8000, dtype=torch.bool),
    )
    for s, kelvin in enumerate((300.0, 900.0)):
        width = math.sqrt(BOLTZMANN * kelvin / float(system[s].masses[0]))
        values = drawn[4000 * s : 4000 * (s + 1)].flatten().numpy()
        assert stats.kstest(values, "norm", (0, width)).pvalue > 0.01


def test_removed_rotation_leaves_no_angular_momentum(molecule):
    line = System.single([[0, 0, 0], [0, 0, 2.0], [0, 0, 4.5]], [29, 8, 29])
    batch = System.batch([molecule, line])
    none = torch.zeros(batch.n_atoms, dtype=torch.bool)
    drawn = maxwell_boltzmann(batch, torch.full((2,), 300.0, dtype=torch.float64), torch.tensor([1, 2]), none)
    still, freedom = without_drift(batch, drawn, none)
    assert freedom.tolist() == [9, 6]
    still, taken = without_rotation(batch, still, none)
    assert taken.tolist() == [3, 2]
    mass = batch.masses[:, None]
    angular = batch.sum_over_atoms(mass * torch.linalg.cross(batch.positions, still))
    assert float(angular.abs().max()) < 1e-12
    assert float(batch.sum_over_atoms(mass * still).abs().max()) < 1e-12


def test_ideal_gas_kinetic_energy_is_chi_squared_at_each_temperature():
    """Samples two relaxation times apart are independent: 2K/kT of 6 atoms has 18 degrees of freedom."""
    count, kelvins = 6, (150.0, 300.0, 1200.0)
    config = MDConfig(
        steps=800,
        timestep_fs=10.0,
        temperature_K=kelvins,
        ensemble="langevin",
        friction_per_ps=50.0,
        record_every=4,
        seed=11,
    )
    results = run_md(System.batch([spread_out(count)] * 3), springs(0.0), config)
    for result, kelvin in zip(results, kelvins, strict=True):
        reduced = 2 * result.samples["kinetic"][10:].numpy() / (BOLTZMANN * kelvin)
        n = len(reduced)
        freedom = 3 * count
        assert reduced.mean() == pytest.approx(freedom, abs=4 * math.sqrt(2 * freedom / n))
        assert reduced.var() == pytest.approx(2 * freedom, rel=0.25)
        assert stats.kstest(reduced, "chi2", (freedom,)).pvalue > 0.01
        assert result.mean_temperature_K == pytest.approx(kelvin, rel=0.05)


def test_harmonic_positions_have_the_exact_width_at_a_coarse_time_step():
    """BAOAB's signature: ⟨x²⟩ = kT/k without time-step error, where the kinetic energy is off by (ωΔt)²/4."""
    stiffness, kelvin, timestep = 2.0, 300.0, 16.0
    atoms = System.single(torch.zeros(200, 3), [18] * 200)
    spaced = atoms.replace(
        positions=torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    config = MDConfig(
        steps=400,
        timestep_fs=timestep,
        temperature_K=kelvin,
        ensemble="langevin",
        friction_per_ps=20.0,
        record_every=5,
        seed=5,
    )
    from groundstate.simulation.dynamics import integrate
    from groundstate.simulation.engine import Engine

    engine = Engine(springs(stiffness), 0.1)
    start = spaced.replace(positions=spaced.positions * math.sqrt(BOLTZMANN * kelvin / stiffness))
    state = integrate.init(start, torch.zeros(200, dtype=torch.bool), torch.tensor([0]), config)
    state, _ = integrate.compute(state, engine)
    squares, kinetic = [], []
    for _ in range(config.steps):
        state, _ = integrate.step(state, engine, config)
        squares.append(float((state.system.positions**2).mean()))
        kinetic.append(float(state.kinetic[0]) / (300 * BOLTZMANN * kelvin))
    frequency = math.sqrt(stiffness / 39.948) * FEMTOSECOND * timestep
    assert np.mean(squares[50:]) == pytest.approx(BOLTZMANN * kelvin / stiffness, rel=0.02)
    assert np.mean(kinetic[50:]) == pytest.approx(1 - frequency**2 / 4, rel=0.01)
    assert frequency**2 / 4 > 0.02


def test_solid_reaches_the_temperature_of_its_bath(potential):
    config = MDConfig(
        steps=900,
        timestep_fs=4.0,
        temperature_K=300.0,
        ensemble="langevin",
        friction_per_ps=20.0,
        record_every=5,
        seed=2,
    )
    result = run_md(warm(potential), potential, config)[0]
    late = result.samples["temperature_K"][60:]
    freedom = 3 * result.system.n_atoms
    assert float(late.mean()) == pytest.approx(300.0, rel=0.12)
    assert float(late.std()) == pytest.approx(300.0 * math.sqrt(2 / freedom), rel=0.25)


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_a_batch_equals_its_singles(potential, crystal, slab, ensemble):
    batch = [crystal(1), slab, crystal(2)]
    kelvins = (200.0, 300.0, 400.0)
    together = run_md(
        System.batch(batch),
        potential,
        MDConfig(steps=25, timestep_fs=2.0, temperature_K=kelvins, ensemble=ensemble, seed=7),
    )
    for k, system in enumerate(batch):
        config = MDConfig(steps=25, timestep_fs=2.0, temperature_K=kelvins[k], ensemble=ensemble, seed=7 + k)
        alone = run_md(system, potential, config)[0]
        torch.testing.assert_close(together[k].system.positions, alone.system.positions, rtol=0, atol=1e-9)
        assert together[k].energy == pytest.approx(alone.energy, abs=1e-9)


def test_given_velocities_continue_a_run(potential):
    """Two runs of 20 steps are one of 40."""
    config = {"timestep_fs": 2.0, "temperature_K": 300.0}
    whole = run_md(warm(potential), potential, MDConfig(steps=40, **config))[0]
    half = run_md(warm(potential), potential, MDConfig(steps=20, **config))[0]
    rest = run_md(half.system, potential, MDConfig(steps=20, **config), velocities=half.velocities)[0]
    torch.testing.assert_close(rest.system.positions, whole.system.positions, rtol=0, atol=1e-9)


def test_fixed_atoms_stay_and_do_not_count(potential, slab):
    fixed = slab.positions[:, 2] < 2.0
    config = MDConfig(steps=20, timestep_fs=2.0, temperature_K=300.0, ensemble="langevin", record_every=1)
    result = run_md(slab, potential, config, fixed_atoms=fixed)[0]
    assert torch.equal(result.system.positions[fixed], slab.positions[fixed])
    freedom = 3 * int((~fixed).sum())
    expected = 2 * float(result.samples["kinetic"][-1]) / freedom / BOLTZMANN
    assert float(result.samples["temperature_K"][-1]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"timestep_fs": 0.0}, "E-TIMESTEP"),
        ({"timestep_fs": 0.002}, "E-TIMESTEP"),
        ({"timestep_fs": 25.0}, "E-TIMESTEP"),
        ({"timestep_fs": float("nan")}, "E-TIMESTEP"),
        ({"temperature_K": -1.0}, "E-TEMPERATURE"),
        ({"temperature_K": 1e7}, "E-TEMPERATURE"),
        ({"temperature_K": 0.0, "ensemble": "langevin"}, "E-TEMPERATURE"),
        ({"temperature_K": 0.0257, "ensemble": "langevin"}, "E-TEMPERATURE"),
        ({"ensemble": "nvt"}, "E-OPTION-UNKNOWN"),
        ({"steps": 0}, "E-OPTION-RANGE"),
        ({"record_every": 0}, "E-OPTION-RANGE"),
        ({"friction_per_ps": 0.0}, "E-OPTION-RANGE"),
        ({"seed": -1}, "E-OPTION-RANGE"),
        ({"skin": -0.1}, "E-OPTION-RANGE"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(options, code):
    with pytest.raises(OptionError) as refusal:
        MDConfig(**({"steps": 10, "timestep_fs": 1.0, "temperature_K": 300.0} | options))
    assert refusal.value.code == code
    if code == "E-TIMESTEP":
        assert "fs" in str(refusal.value)


def test_options_that_do_not_fit_the_batch(potential, crystal):
    config = MDConfig(steps=1, timestep_fs=1.0, temperature_K=(300.0, 400.0))
    with pytest.raises(OptionError, match="E-TEMPERATURE"):
        run_md(crystal(1), potential, config)
    one = MDConfig(steps=1, timestep_fs=1.0, temperature_K=300.0)
    with pytest.raises(OptionError, match="E-VELOCITIES"):
        run_md(crystal(1), potential, one, velocities=torch.full((4, 3), torch.nan, dtype=torch.float64))
    held = torch.ones(4, dtype=torch.bool)
    assert run_md(crystal(1), potential, one, fixed_atoms=held)[0].code == "E-ALL-FIXED"
    assert run_md(System.single([[0.0, 0, 0]], [29]), potential, one)[0].code == "E-ONE-ATOM"
