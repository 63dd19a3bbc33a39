"""Each bath keeps its quantity and samples its distribution: kinetic energies are χ², whatever the thermostat."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from groundstate.atoms import OptionError, System
from groundstate.atoms.units import BOLTZMANN
from groundstate.simulation import MDConfig, run_md
from groundstate.simulation.dynamics import integrate
from groundstate.simulation.dynamics.config import ENSEMBLES
from groundstate.simulation.dynamics.velocities import kinetic_energy
from toys import fcc

WITH_BATH = [name for name, facts in ENSEMBLES.items() if facts.thermostat]
PRESSED = ("npt", "npt-mtk")


def warm(repeats: int = 1) -> System:
    return fcc(lattice_constant=3.56, repeats=repeats)


def test_every_ensemble_has_a_step():
    assert set(integrate._STEPS) == set(ENSEMBLES)


@pytest.mark.parametrize("ensemble", ["csvr", "nose-hoover", "npt", "npt-mtk"])
def test_the_conserved_energy_errs_a_quarter_when_the_time_step_is_halved(potential, ensemble):
    """The order of the splitting. Stochastic baths are slow here, so that their random paths are nearly the same."""
    scatter = []
    for timestep in (4.0, 2.0):
        config = MDConfig(
            steps=int(400 / timestep),
            timestep_fs=timestep,
            temperature_K=600.0,
            ensemble=ensemble,
            thermostat_fs=1e5 if ensemble in ("csvr", "npt") else 100.0,
            barostat_fs=1e5 if ensemble == "npt" else 300.0,
            cell="full",
            record_every=1,
            seed=3,
        )
        result = run_md(warm(), potential, config)[0]
        assert result.status == "completed"
        energy = result.samples["conserved"]
        assert float(result.samples["total"].std()) > 3 * float(energy.std())
        scatter.append(float((energy - energy.mean()).std()))
    assert scatter[1] / scatter[0] == pytest.approx(0.25, rel=0.15)


@pytest.mark.parametrize("ensemble", ["csvr", "nose-hoover", "npt", "npt-mtk"])
def test_kinetic_energies_are_chi_squared(potential, ensemble):
    """40 crystals of 4 atoms, 9 degrees of freedom each, at two temperatures; samples 150 fs apart."""
    kelvins = (200.0, 600.0)
    config = MDConfig(
        steps=400,
        timestep_fs=3.0,
        temperature_K=kelvins * 20,
        ensemble=ensemble,
        thermostat_fs=50.0,
        barostat_fs=1000.0,
        record_every=50,
        seed=4,
    )
    results = run_md(System.batch([warm()] * 40), potential, config)
    for first, kelvin in enumerate(kelvins):
        kinetic = np.concatenate([r.samples["kinetic"][3:].numpy() for r in results[first::2]])
        reduced = 2 * kinetic / (BOLTZMANN * kelvin)
        assert reduced.mean() == pytest.approx(9, abs=4 * math.sqrt(18 / len(reduced)))
        # Chaos lets rounding choose the sample: one in a hundred would fail too often, a wrong law fails at 1e-6.
        assert stats.kstest(reduced, "chi2", (9,)).pvalue > 1e-3


@pytest.mark.parametrize("ensemble", [name for name in WITH_BATH if name != "langevin"])
def test_momentum_stays_zero_and_a_batch_equals_its_singles(potential, crystal, ensemble):
    options = {"steps": 20, "timestep_fs": 2.0, "ensemble": ensemble, "cell": "full", "barostat_fs": 100.0}
    batch, kelvins, pressures = [crystal(1), crystal(2)], (200.0, 400.0), (0.0, 1.0 if ensemble in PRESSED else 0.0)
    config = MDConfig(temperature_K=kelvins, pressure_GPa=pressures, seed=7, **options)
    together = run_md(System.batch(batch), potential, config)
    for k, system in enumerate(batch):
        config = MDConfig(temperature_K=kelvins[k], pressure_GPa=pressures[k], seed=7 + k, **options)
        alone = run_md(system, potential, config)[0]
        torch.testing.assert_close(together[k].system.positions, alone.system.positions, rtol=0, atol=1e-9)
        torch.testing.assert_close(together[k].system.cell, alone.system.cell, rtol=0, atol=1e-9)
        assert torch.equal(alone.system.cell, system.cell) == (ensemble not in PRESSED)
        momentum = (alone.system.masses[:, None] * alone.velocities).sum(dim=0)
        assert float(momentum.abs().max()) < 1e-11


def test_the_temperature_follows_a_ramp_and_a_prolonged_ramp_is_another_run(potential, tmp_path):
    options = {"timestep_fs": 3.0, "temperature_K": 50.0, "final_temperature_K": 600.0, "ensemble": "csvr"}
    config = MDConfig(steps=400, thermostat_fs=30.0, record_every=5, **options)
    (result,) = run_md(warm(2), potential, config, output=tmp_path)
    kelvin = result.samples["temperature_K"].numpy()
    expected = 50.0 + 550.0 * np.arange(len(kelvin)) / (len(kelvin) - 1)
    # One sample of 93 degrees of freedom scatters by 15 %, 30 of them half correlated by a third of that.
    for part in (slice(20, 50), slice(51, 81)):
        assert kelvin[part].mean() == pytest.approx(expected[part].mean(), rel=0.15)
    longer = MDConfig(steps=500, thermostat_fs=30.0, record_every=5, **options)
    with pytest.raises(Exception, match=r"E-RUN-MISMATCH.*ramp_steps"):
        run_md(warm(2), potential, longer, output=tmp_path)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"ensemble": "npt", "cell": "shape"}, "E-OPTION-UNKNOWN"),
        ({"pressure_GPa": 1.0}, "E-PRESSURE"),
        ({"ensemble": "npt", "pressure_GPa": float("nan")}, "E-PRESSURE"),
        ({"ensemble": "npt", "pressure_GPa": 101325.0}, "E-PRESSURE"),
        ({"ensemble": "csvr", "thermostat_fs": 0.1}, "E-OPTION-RANGE"),
        ({"ensemble": "npt", "barostat_fs": 1.0}, "E-OPTION-RANGE"),
        ({"ensemble": "npt", "compressibility_per_GPa": 0.0}, "E-OPTION-RANGE"),
        ({"ensemble": "npt", "temperature_K": 0.0}, "E-TEMPERATURE"),
        ({"final_temperature_K": 100.0}, "E-TEMPERATURE"),
        ({"ensemble": "csvr", "final_temperature_K": 0.0}, "E-TEMPERATURE"),
    ],
)
def test_bad_baths_are_refused(options, code):
    with pytest.raises(OptionError) as refusal:
        MDConfig(**({"steps": 10, "timestep_fs": 1.0, "temperature_K": 300.0} | options))
    assert refusal.value.code == code


@pytest.mark.parametrize("ensemble", PRESSED)
def test_a_barostat_refuses_what_has_no_volume_or_cannot_move(potential, crystal, slab, molecule, ensemble):
    config = MDConfig(steps=2, timestep_fs=1.0, temperature_K=300.0, ensemble=ensemble)
    results = run_md(System.batch([slab, crystal(1), molecule]), potential, config)
    assert [r.code for r in results] == ["E-NPT-PERIODS", "", "E-NPT-PERIODS"]
    held = torch.tensor([True, False, False, False])
    assert run_md(crystal(1), potential, config, fixed_atoms=held)[0].code == "E-NPT-FIXED"


@pytest.mark.parametrize("ensemble", PRESSED)
def test_a_structure_that_fails_under_pressure_leaves_the_others_alone(faulty, crystal, ensemble):
    gold = crystal(2).replace(numbers=torch.full((4,), 79))
    config = MDConfig(steps=6, timestep_fs=2.0, temperature_K=300.0, ensemble=ensemble, cell="full", record_every=1)
    results = run_md(System.batch([crystal(1), gold, crystal(3)]), faulty, config)
    assert [r.status for r in results] == ["completed", "stopped", "completed"]
    assert results[1].code == "E-RESULT-NOT-FINITE"


def test_atoms_at_rest_are_not_rescaled(potential, crystal):
    config = MDConfig(steps=2, timestep_fs=1.0, temperature_K=300.0, ensemble="csvr")
    rest = torch.zeros(4, 3, dtype=torch.float64)
    with pytest.raises(OptionError, match="E-VELOCITIES"):
        run_md(crystal(1), potential, config, velocities=rest)
    assert float(kinetic_energy(crystal(1), rest)[0]) == 0


@pytest.mark.parametrize("ensemble", [name for name in WITH_BATH if name != "langevin"])
def test_an_interrupted_run_ends_in_the_same_bits(potential, crystal, tmp_path, ensemble):
    config = MDConfig(
        steps=30,
        timestep_fs=2.0,
        temperature_K=300.0,
        ensemble=ensemble,
        cell="full",
        record_every=3,
        checkpoint_every=7,
    )
    system = System.batch([crystal(1), crystal(2)])
    whole = run_md(system, potential, config, output=tmp_path / "whole")
    for limit in (12, 20):

        def stop(report, limit=limit):
            if report.done >= limit and report.done < report.total:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_md(system, potential, config, output=tmp_path / "run", progress=stop)
    resumed = run_md(system, potential, config, output=tmp_path / "run")
    for one, other in zip(resumed, whole, strict=True):
        assert torch.equal(one.system.positions, other.system.positions)
        assert torch.equal(one.system.cell, other.system.cell)
        for name in one.samples:
            assert torch.equal(one.samples[name], other.samples[name])
    name = "samples_00001.jsonl"
    assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
