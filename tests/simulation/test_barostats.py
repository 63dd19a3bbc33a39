"""Volumes and shapes under pressure against exact distributions: ideal gas, two atoms by quadrature, elastic solid."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from groundstate.atoms import Allowances, System
from groundstate.atoms.units import BOLTZMANN, GIGAPASCAL
from groundstate.potentials import Energy, Model, Term, evaluate
from groundstate.simulation import MDConfig, Watchdog, run_md
from toys import fcc

ANY_VOLUME = Watchdog(max_volume_ratio=1e6)


class Nothing(Term):
    """An ideal gas."""

    reaches_contact = True

    def forward(self, system, geometry, outputs):
        return Energy.zero(system)


def volumes(results, discard: int) -> np.ndarray:
    return np.concatenate([r.samples["volume"][discard:].numpy() for r in results])


@pytest.mark.parametrize(("cell", "guess"), [("isotropic", 1.0), pytest.param("full", 10.0, marks=pytest.mark.slow)])
def test_ideal_gas_volumes_follow_the_gamma_distribution(cell, guess):
    """p(V) ∝ V^(N−1) e^(−pV/kT): of N atoms one does not count, because the total momentum is zero.

    Also with a guess of the compressibility so wrong that many strains are not accepted.
    """
    count, kelvin, pressure = 6, 300.0, 1e-3
    gas = Model(None, {}, {"gas": Nothing()}, description={"kind": "toy-gas"})
    scale = BOLTZMANN * kelvin / (pressure * GIGAPASCAL)
    generator = torch.Generator().manual_seed(1)
    side = (count * scale) ** (1 / 3)
    boxes = [
        System.single(
            torch.rand(count, 3, generator=generator, dtype=torch.float64) * side,
            [18] * count,
            cell=side * torch.eye(3),
            pbc=True,
        )
        for _ in range(64)
    ]
    config = MDConfig(
        steps=240,
        timestep_fs=20.0,
        temperature_K=kelvin,
        ensemble="npt",
        cell=cell,
        pressure_GPa=pressure,
        thermostat_fs=100.0,
        barostat_fs=200.0,
        compressibility_per_GPa=guess / pressure,
        record_every=30,
        skin=5.0,
        seed=5,
        watchdog=ANY_VOLUME,
    )
    results = run_md(System.batch(boxes), gas, config, allow=Allowances(close_atoms=True))
    accepted = np.mean([r.strains_accepted for r in results])
    assert 0.1 < accepted < 0.7 if guess > 1 else accepted > 0.8
    found = volumes(results, 2) / scale
    assert stats.kstest(found, "gamma", (count,)).pvalue > 1e-3
    assert stats.kstest(found, "gamma", (count + 1,)).pvalue < 1e-3
    assert stats.kstest(found, "gamma", (count - 1,)).pvalue < 1e-3


@pytest.mark.parametrize(
    ("ensemble", "barostat_fs", "guess", "steps", "apart"),
    [
        pytest.param("npt", 20.0, 0.5, 400, 2, marks=pytest.mark.slow),
        ("npt", 400.0, 0.05, 900, 6),
        pytest.param("npt-mtk", 100.0, 0.05, 900, 2, marks=pytest.mark.slow),
    ],
    ids=["npt, far too fast", "npt", "npt-mtk"],
)
def test_two_atoms_in_a_breathing_cube_agree_with_quadrature(potential, ensemble, barostat_fs, guess, steps, apart):
    """p(V) ∝ V e^(−pV/kT) ∫ d³s e^(−U(V, s)/kT) over the one relative vector; the mean pressure is the one outside.

    Volumes begin with the right distribution and should keep it. Errors are of means over each pair's time, which are
    independent, as are volumes some samples `apart`.
    """
    kelvin, pressure = 2500.0, 6.0
    thermal = BOLTZMANN * kelvin
    grid = np.linspace(12.0, 110.0, 50)
    probability = _density(potential, grid, thermal, pressure * GIGAPASCAL)
    assert probability[0] < 1e-3 * probability.max()
    assert probability[-1] < 1e-3 * probability.max()
    fine = np.linspace(grid[0], grid[-1], 2000)
    density = np.interp(fine, grid, probability)
    cumulative = np.cumsum(density) / density.sum()
    mean = (fine * density).sum() / density.sum()
    spread = math.sqrt(((fine - mean) ** 2 * density).sum() / density.sum())
    config = MDConfig(
        steps=steps,
        timestep_fs=2.0,
        temperature_K=kelvin,
        ensemble=ensemble,
        pressure_GPa=pressure,
        thermostat_fs=40.0,
        barostat_fs=barostat_fs,
        compressibility_per_GPa=guess,
        record_every=steps // 10,
        seed=9,
        watchdog=Watchdog(max_volume_ratio=100.0, max_temperature_K=1e6, max_drift_meV_per_atom_ps=100.0),
    )
    starts = np.interp((np.arange(64) + 0.5) / 64, cumulative, fine)
    results = run_md(System.batch([_pair(v, (0.5, 0.5, 0.4)) for v in starts]), potential, config)
    assert all(r.status == "completed" for r in results)
    found = np.stack([r.samples["volume"][4:].numpy() for r in results])
    inside = np.stack([r.samples["pressure_GPa"][4:].numpy() for r in results])
    for values, expected in ((found, mean), ((found - mean) ** 2, spread**2), (inside, pressure)):
        each = values.mean(axis=1)
        assert each.mean() == pytest.approx(expected, abs=4 * each.std() / math.sqrt(len(each)))
    independent = found[:, ::apart].ravel()
    assert stats.kstest(independent, lambda v: np.interp(v, fine, cumulative)).pvalue > 1e-3


def test_a_cold_solid_strains_as_its_elastic_constants_say(potential):
    """⟨δV²⟩ = kT V/B, and each shear of a cubic crystal has ⟨ε²⟩ = kT/(4 V C44), measured by the metric h hᵀ.

    Reached by cell rescaling from a perfect crystal, and kept by Martyna–Tobias–Klein.
    """
    kelvin, side, count = 100.0, 3.57, 64
    bulk, shear, volume = _elastic(potential, side)
    options = {"timestep_fs": 4.0, "temperature_K": kelvin, "cell": "full", "thermostat_fs": 100.0, "record_every": 25}
    rescaling = MDConfig(
        steps=300, ensemble="npt", barostat_fs=150.0, compressibility_per_GPa=GIGAPASCAL / bulk, **options
    )
    inertial = MDConfig(steps=350, ensemble="npt-mtk", barostat_fs=1500.0, seed=1000, **options)
    first = run_md(System.batch([fcc(lattice_constant=side)] * count), potential, rescaling)
    speeds = torch.cat([r.velocities for r in first])
    second = run_md(System.batch([r.system for r in first]), potential, inertial, velocities=speeds)
    for results, discard, tolerance in ((first, 6, 0.25), (second, 2, 0.25)):
        found = volumes(results, discard)
        assert found.var() == pytest.approx(BOLTZMANN * kelvin * volume / bulk, rel=tolerance)
        metric = torch.cat([r.system.cell @ r.system.cell.transpose(1, 2) for r in results])
        sheared = torch.stack([metric[:, 0, 1], metric[:, 0, 2], metric[:, 1, 2]]) / (2 * side**2)
        expected = BOLTZMANN * kelvin / (4 * volume * shear)
        assert float((sheared**2).mean()) == pytest.approx(expected, rel=4 * math.sqrt(2 / sheared.numel()))


@pytest.mark.parametrize(
    ("side", "repeats", "options", "reached"),
    [
        (3.35, 2, {"temperature_K": 300.0, "compressibility_per_GPa": 0.5}, (3.55, 3.68)),
        (3.56, 4, {"temperature_K": 10.0, "pressure_GPa": -20.0}, (3.85, 4.0)),
    ],
    ids=["from 30 GPa with a guess 50 times too large", "while what pulls still grows"],
)
def test_cells_far_from_equilibrium_are_led_on(potential, side, repeats, options, reached):
    config = MDConfig(steps=120, timestep_fs=4.0, ensemble="npt", barostat_fs=200.0, record_every=20, **options)
    (result,) = run_md(fcc(lattice_constant=side, repeats=repeats), potential, config)
    assert reached[0] < float(result.system.volume) ** (1 / 3) / repeats < reached[1]
    assert result.strains_accepted > 0.7


def test_what_strains_give_is_counted(potential):
    """The rest is the error of the time step."""
    options = {"temperature_K": 300.0, "pressure_GPa": 1.0, "cell": "full", "thermostat_fs": 1e5, "barostat_fs": 60.0}
    config = MDConfig(steps=200, timestep_fs=1.0, ensemble="npt", record_every=1, **options)
    (result,) = run_md(fcc(lattice_constant=3.56), potential, config)
    samples = result.samples
    enthalpy = samples["total"] + GIGAPASCAL * samples["volume"]
    assert float(samples["conserved"].std()) < 0.03 * float(enthalpy.std())


def test_a_volume_that_runs_away_stops_the_run(potential):
    config = MDConfig(
        steps=400,
        timestep_fs=2.0,
        temperature_K=300.0,
        ensemble="npt",
        pressure_GPa=-60.0,
        compressibility_per_GPa=0.05,
        barostat_fs=50.0,
    )
    result = run_md(fcc(lattice_constant=3.56), potential, config)[0]
    assert (result.status, result.code) == ("stopped", "E-MD-VOLUME")
    assert float(result.system.volume) < 2.001 * 3.56**3


def _pair(volume: float, fractional) -> System:
    side = volume ** (1 / 3)
    places = torch.tensor([[0.0, 0, 0], list(fractional)], dtype=torch.float64) * side
    return System.single(places, [29, 29], cell=side * torch.eye(3), pbc=True)


def _density(potential, grid, thermal: float, pressure: float) -> np.ndarray:
    """By midpoints in one octant of s, which is periodic and even, so the rule converges fast."""
    places = [(k + 0.5) / 12 for k in range(6)]
    # Permutations of the axes are symmetries: count each sorted triple by how often it occurs.
    triples = [(a, b, c) for a in places for b in places if b >= a for c in places if c >= b]
    weights = np.array([{1: 1, 2: 3, 3: 6}[len(set(t))] for t in triples], dtype=float)
    values = []
    for volume in grid:
        batch = System.batch([_pair(volume, t) for t in triples])
        energy = evaluate(potential, batch, ("energy",))["energy"].numpy()
        values.append(volume * (weights * np.exp(-(energy + pressure * volume) / thermal)).sum())
    return np.array(values) / max(values)


def _elastic(potential, side: float) -> tuple[float, float, float]:
    """Bulk modulus and C44, eV/Å³, by central differences of the stress, and the volume."""
    crystal = fcc(lattice_constant=side)
    strains = []
    for direction in (torch.eye(3, dtype=torch.float64), torch.tensor([[0, 1.0, 0], [1, 0, 0], [0, 0, 0]]).double()):
        ends = []
        for sign in (1e-4, -1e-4):
            deform = torch.eye(3, dtype=torch.float64) + sign * direction
            strained = crystal.replace(positions=crystal.positions @ deform, cell=crystal.cell @ deform)
            ends.append(evaluate(potential, strained, ("stress",))["stress"][0])
        strains.append((ends[0] - ends[1]) / 2e-4)
    return float(strains[0].trace()) / 9, float(strains[1][0, 1]) / 2, side**3
