"""Structures leave and enter a batched state with all their rows and with nobody else's."""

from dataclasses import fields, replace

import torch

from groundstate.atoms import System
from groundstate.simulation import MDConfig, RelaxConfig
from groundstate.simulation.dynamics import integrate
from groundstate.simulation.engine import Engine
from groundstate.simulation.relaxation import minimise
from groundstate.simulation.relaxation.fire import Coordinates
from groundstate.simulation.states import choose, join, take


def test_taking_and_joining_gives_back_the_state(potential, crystal, slab, molecule):
    batch = System.batch([crystal(1), slab, molecule])
    fixed = torch.arange(batch.n_atoms) % 3 == 0
    state = minimise.init(batch, fixed, torch.arange(3), RelaxConfig(cell="full"))
    state, _ = minimise.step(state, Engine(potential, 1.0), RelaxConfig(cell="full"))
    parts = [take(state, state.system, [s]) for s in (2, 0, 1)]
    again = join(parts)
    expected = take(state, state.system, [2, 0, 1])
    assert again.index.tolist() == [2, 0, 1]
    assert again.filter.mode == "full"
    for name in ("positions", "numbers", "cell"):
        assert torch.equal(getattr(again.system, name), getattr(expected.system, name))
    for f in fields(Coordinates):
        assert torch.equal(getattr(again.force, f.name), getattr(expected.force, f.name))
    assert torch.equal(again.now.forces, expected.now.forces)
    assert torch.equal(take(again, again.system, [1]).fixed, fixed[:4])


def test_choosing_mixes_structure_by_structure(crystal, molecule):
    batch = System.batch([crystal(1), molecule])
    config = MDConfig(steps=1, timestep_fs=1.0, temperature_K=300.0)
    none = torch.zeros(batch.n_atoms, dtype=torch.bool)
    velocities = integrate.init(batch, none, torch.arange(2), config).velocities
    ones = Coordinates(velocities, torch.ones(2, 3, 3, dtype=torch.float64))
    twos = Coordinates(2 * velocities, 2 * ones.cell)
    mixed = choose(torch.tensor([False, True]), batch.system_index, ones, twos)
    assert mixed.cell[:, 0, 0].tolist() == [2.0, 1.0]
    assert torch.equal(mixed.atoms, torch.cat([2 * velocities[:4], velocities[4:]]))


def test_choosing_mixes_positions_and_cells_of_states_in_motion(crystal):
    config = MDConfig(steps=1, timestep_fs=1.0, temperature_K=300.0)
    still = integrate.init(System.batch([crystal(1), crystal(2)]), torch.zeros(8).bool(), torch.arange(2), config)
    grown = still.system.replace(positions=1.1 * still.system.positions, cell=1.1 * still.system.cell)
    mixed = choose(torch.tensor([False, True]), still.system.system_index, replace(still, system=grown), still)
    assert torch.equal(mixed.system.cell, torch.stack([still.system.cell[0], grown.cell[1]]))
    assert torch.equal(mixed.system.positions, torch.cat([still.system.positions[:4], grown.positions[4:]]))
    assert torch.equal(mixed.velocities, still.velocities)
