"""Heat fluxes against formulas that need no unfolding, and a conductivity with a known answer."""

import numpy as np
import pytest
import torch

from groundstate.atoms import DataError, Geometry, System, UndefinedPropertyError
from groundstate.atoms.units import BOLTZMANN, ELEMENTARY_CHARGE_C, FEMTOSECOND
from groundstate.potentials import Energy, Model, Term, evaluate
from groundstate.potentials.mace import MACEConfig, build
from groundstate.simulation.analysis import green_kubo, heat_flux
from toys import fcc, lennard_jones


@pytest.fixture(scope="module")
def messages():
    """Two rounds of messages over 3 Å, random weights."""
    config = MACEConfig(channels=4, lmax=1, hidden_lmax=1, correlation=2, layers=2, cutoff=3.0, dtype="float64")
    return build(config, elements=(29,), reference_energies=[{29: -3.0}], seed=1)


def moving(system: System, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.01 * torch.randn(system.positions.shape, generator=generator, dtype=torch.float64)


def skewed(crystal) -> System:
    shear = torch.tensor([[1.0, 0.3, 0.0], [0.0, 1.0, -0.2], [0.1, 0.0, 1.0]], dtype=torch.float64)
    system = crystal(1)
    return system.replace(positions=system.positions @ shear, cell=system.cell @ shear)


def test_a_pair_potential_has_the_flux_of_the_textbook(crystal):
    """J = Σ E_i v_i + ½ Σ_ij r_ij (F_ij · v_i), summed over edges of the periodic cell."""
    potential = lennard_jones(cutoff=4.5)
    system = skewed(crystal)
    velocities = moving(system)
    edges = Geometry.of(system, 4.5).edges(4.5)
    radii = edges.distances.clone().requires_grad_()
    inverse = (2.3 / radii) ** 6
    pair = 0.8 * (inverse**2 - inverse) * (1 - (radii / 4.5) ** 2) ** 3
    (slope,) = torch.autograd.grad(pair.sum(), radii)
    # Force on the sender by the receiver along r_ij = r_j − r_i; half of the pair's energy belongs to the receiver.
    pull = 0.5 * slope[:, None] * edges.vectors / edges.distances[:, None]
    power = (pull * velocities[edges.senders]).sum(dim=1)
    own = (pull * velocities[edges.receivers]).sum(dim=1)
    assert float(own.abs().max()) > 0
    local = edges.sum_to_receivers(0.5 * pair.detach()) + 0.5 * system.masses * (velocities**2).sum(1) / FEMTOSECOND**2
    expected = (local[:, None] * velocities).sum(0) - (edges.vectors * power[:, None]).sum(0)
    torch.testing.assert_close(heat_flux(potential, system, velocities), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["pair", "messages"])
def test_the_flux_of_a_cluster_is_the_rate_of_its_energy_moment(messages, molecule, kind):
    potential = messages if kind == "messages" else lennard_jones(cutoff=4.5)
    velocities = moving(molecule, 3)

    def moment(time: float) -> torch.Tensor:
        """Σ r_i E_i after a short time, positions and velocities to second order."""
        forces = evaluate(potential, molecule, ("forces",))["forces"] * FEMTOSECOND**2
        acceleration = forces / molecule.masses[:, None]
        there = molecule.replace(positions=molecule.positions + time * velocities + 0.5 * time**2 * acceleration)
        speed = velocities + time * acceleration
        energy = evaluate(potential, there, ("energies",))["energies"]
        energy = energy + 0.5 * molecule.masses * (speed**2).sum(1) / FEMTOSECOND**2
        return (energy[:, None] * there.positions).sum(0)

    rate = (moment(0.01) - moment(-0.01)) / 0.02
    torch.testing.assert_close(heat_flux(potential, molecule, velocities), rate, rtol=1e-6, atol=1e-8)


def test_messages_reach_further_than_one_cutoff_and_a_depth_too_small_is_refused(messages, crystal):
    system = crystal(1)
    found = heat_flux(messages, system, moving(system))
    torch.testing.assert_close(heat_flux(messages, system, moving(system), depth=2), found)
    torch.testing.assert_close(heat_flux(messages, system, moving(system), depth=3), found, rtol=1e-9, atol=1e-12)
    with pytest.raises(UndefinedPropertyError, match="E-HEAT-FLUX-REACH"):
        heat_flux(messages, system, moving(system), depth=1)


def test_two_cells_carry_twice_the_flux_wherever_atoms_are_folded(messages, crystal):
    system = crystal(2)
    velocities = moving(system)
    one = heat_flux(messages, system, velocities)
    cell = system.cell.clone()
    cell[0, 0] *= 2
    doubled = System.single(
        torch.cat([system.positions, system.positions + system.cell[0, 0]]), [29] * 8, cell=cell, pbc=True
    )
    torch.testing.assert_close(heat_flux(messages, doubled, velocities.repeat(2, 1)), 2 * one, rtol=1e-9, atol=1e-11)
    folded = system.positions.clone()
    folded[1] += system.cell[0, 2]
    folded[3] -= 2 * system.cell[0, 1]
    moved = system.replace(positions=folded)
    torch.testing.assert_close(heat_flux(messages, moved, velocities), one, rtol=1e-8, atol=1e-10)


class Opaque(Term):
    """Energies of atoms that are numbers only, as another process gives them."""

    cutoff = 3.0

    def forward(self, system, geometry, outputs):
        return Energy.of_atoms(system, torch.ones(system.n_atoms, dtype=torch.float64))


def test_energies_without_slopes_have_no_flux(crystal):
    opaque = Model(None, {}, {"opaque": Opaque()}, description={"kind": "toy-opaque"})
    with pytest.raises(UndefinedPropertyError, match="E-HEAT-FLUX-SLOPES"):
        heat_flux(opaque, crystal(1), moving(crystal(1)))


def test_a_crystal_that_only_drifts_conveys_energy_and_stress(messages):
    """With one velocity for all, J = E v + V σ·v; at a stationary cell only the energy travels."""
    system = fcc(lattice_constant=3.7)
    speed = torch.tensor([0.01, -0.02, 0.005], dtype=torch.float64)
    found = evaluate(messages, system, ("energy", "strain_gradient"))
    kinetic = 0.5 * system.masses.sum() * speed.dot(speed) / FEMTOSECOND**2
    expected = (found["energy"] + kinetic) * speed - found["strain_gradient"][0] @ speed
    torch.testing.assert_close(heat_flux(messages, system, speed.repeat(4, 1)), expected, rtol=1e-8, atol=1e-10)


def test_a_flux_with_a_known_correlation_gives_its_integral():
    """An Ornstein–Uhlenbeck flux: ⟨J(0)·J(t)⟩ = 3 s² e^(−t/τ), so κ = s² τ/(V k_B T²)."""
    generator, keep, width = np.random.default_rng(4), np.exp(-2.0 / 40.0), 0.3
    noise = generator.standard_normal((100_000, 3)) * width * np.sqrt(1 - keep**2)
    flux = np.zeros_like(noise)
    flux[0] = width * generator.standard_normal(3)
    for k in range(1, len(flux)):
        flux[k] = keep * flux[k - 1] + noise[k]
    found = green_kubo(torch.from_numpy(flux), 2.0, 1000.0, 300.0)
    exact = width**2 * 40.0 / (1000.0 * BOLTZMANN * 300.0**2) * ELEMENTARY_CHARGE_C / 1e-25
    assert abs(found.kappa_W_per_m_K - exact) < 4 * found.error_W_per_m_K + 0.02 * exact
    assert found.error_W_per_m_K < 0.1 * exact
    assert found.cutoff_fs > 80
    fixed = green_kubo(torch.from_numpy(flux), 2.0, 1000.0, 300.0, cutoff_fs=200.0)
    assert fixed.kappa_W_per_m_K == pytest.approx(exact, rel=0.06)
    with pytest.raises(DataError, match="E-TRAJECTORY-SHORT"):
        green_kubo(torch.from_numpy(flux[:50]), 2.0, 1000.0, 300.0)
