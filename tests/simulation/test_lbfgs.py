"""Batched L-BFGS: exact on quadratics, ASE's minima, and structures that come and go."""

import pytest
import torch

from groundstate.atoms import System
from groundstate.simulation import RelaxConfig, relax
from groundstate.simulation.relaxation import lbfgs
from groundstate.simulation.relaxation.coordinates import Coordinates
from groundstate.simulation.states import join, take

LBFGS = {"minimiser": "lbfgs", "force_tolerance": 3e-4, "max_steps": 500}


def quadratic(seed: int, n_atoms: int, stiffest: float) -> torch.Tensor:
    """A random Hessian over atoms and cell, eV/Å², eigenvalues from 1 to `stiffest`."""
    generator = torch.Generator().manual_seed(seed)
    n = 3 * n_atoms + 9
    axes = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    return axes @ torch.diag(torch.logspace(0, float(torch.tensor(stiffest).log10()), n, dtype=torch.float64)) @ axes.T


def force_of(hessians: list[torch.Tensor], at: Coordinates, sizes: list[int]) -> Coordinates:
    atoms, cells = [], []
    for s, (hessian, rows) in enumerate(zip(hessians, at.atoms.split(sizes), strict=True)):
        gradient = hessian @ torch.cat([rows.flatten(), at.cell[s].flatten()])
        atoms.append(-gradient[: rows.numel()].reshape(-1, 3))
        cells.append(-gradient[rows.numel() :].reshape(3, 3))
    return Coordinates(torch.cat(atoms), torch.stack(cells))


def test_quadratics_are_solved_in_few_steps_each_with_its_own_history():
    sizes = [3, 5]
    owner = torch.repeat_interleave(torch.arange(2), torch.tensor(sizes))
    hessians = [quadratic(1, 3, 10.0), quadratic(2, 5, 100.0)]
    generator = torch.Generator().manual_seed(0)
    at = Coordinates(
        0.05 * torch.randn(8, 3, generator=generator, dtype=torch.float64),
        0.05 * torch.randn(2, 3, 3, generator=generator, dtype=torch.float64),
    )
    zero = Coordinates(torch.zeros_like(at.atoms), torch.zeros_like(at.cell))
    state = lbfgs.at_rest(zero, 0.2)
    for _ in range(60):
        state, step = lbfgs.advance(state, force_of(hessians, at, sizes), owner)
        assert float(step.longest_row(owner).max()) <= 0.2 + 1e-12
        at = at + step
    size = at.dot(at, owner).sqrt()
    assert float(size.max()) < 1e-6


def test_a_hill_is_left_along_the_force_and_teaches_nothing():
    """Negative curvature: the pair is not kept and the step goes downhill."""
    owner = torch.zeros(1, dtype=torch.int64)
    at = Coordinates(torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64), torch.zeros(1, 3, 3, dtype=torch.float64))
    state = lbfgs.at_rest(Coordinates(torch.zeros_like(at.atoms), at.cell), 0.2)
    for _ in range(4):
        force = Coordinates(5.0 * at.atoms, torch.zeros_like(at.cell))
        state, step = lbfgs.advance(state, force, owner)
        assert float(step.dot(force, owner)) > 0
        assert not bool(state.weights.any())
        at = at + step


def test_going_uphill_drops_the_history_and_shortens_the_reach():
    owner = torch.zeros(1, dtype=torch.int64)
    cell = torch.zeros(1, 3, 3, dtype=torch.float64)

    def force(x: float) -> Coordinates:
        return Coordinates(torch.tensor([[x, 0.0, 0.0]], dtype=torch.float64), cell)

    state = lbfgs.at_rest(Coordinates(torch.zeros(1, 3, dtype=torch.float64), cell), 0.2)
    state, _ = lbfgs.advance(state, force(1.0), owner)
    state, _ = lbfgs.advance(state, force(0.9), owner)
    assert bool(state.weights.any())
    state, step = lbfgs.advance(state, force(-3.0), owner)  # far beyond the minimum
    assert not bool(state.weights.any())
    assert float(state.reach) == pytest.approx(0.1)
    assert float(step.atoms[0, 0]) < 0


@pytest.mark.parametrize("cell", ["fixed", "full", "isotropic", "shape"])
def test_minima_are_those_of_fire(potential, crystal, sheared, cell):
    batch = System.batch([crystal(1), sheared, crystal(2, lattice_constant=3.7)])
    fire = relax(batch, potential, RelaxConfig(force_tolerance=3e-4, max_steps=3000, cell=cell, minimiser="fire"))
    fast = relax(batch, potential, RelaxConfig(cell=cell, **LBFGS))
    for one, other in zip(fast, fire, strict=True):
        assert one.converged
        assert other.converged
        assert one.energy == pytest.approx(other.energy, abs=2e-6)
        assert float(one.system.volume) == pytest.approx(float(other.system.volume), rel=2e-4)
        assert one.steps < other.steps


def test_a_batch_equals_its_singles_however_it_is_packed(potential, crystal, sheared, slab):
    batch = [crystal(1), sheared, slab, crystal(2)]
    config = RelaxConfig(force_tolerance=0.02, cell="full", minimiser="lbfgs", max_atoms_per_batch=36)
    for system, packed in zip(batch, relax(System.batch(batch), potential, config), strict=True):
        alone = relax(system, potential, config)[0]
        assert (packed.status, packed.steps) == (alone.status, alone.steps)
        assert packed.energy == pytest.approx(alone.energy, abs=1e-9)


def test_structures_leave_and_enter_with_their_history(crystal, molecule):
    batch = System.batch([crystal(1), molecule])
    ones = Coordinates(torch.ones(8, 3, dtype=torch.float64), torch.ones(2, 3, 3, dtype=torch.float64))
    state = lbfgs.at_rest(Coordinates(0 * ones.atoms, 0 * ones.cell), 0.2)
    for size in (1.0, 0.9, 0.7):
        force = ones.scaled(torch.tensor([size, 2 * size], dtype=torch.float64), batch.system_index)
        state, _ = lbfgs.advance(state, force, batch.system_index)
    again = join([take(state, batch, [1]), take(state, batch, [0])])
    assert torch.equal(again.weights, state.weights[[1, 0]])
    assert torch.equal(again.steps, torch.cat([state.steps[4:], state.steps[:4]]))
    assert bool(state.weights.any())
