"""Symmetry that is kept: the minima of ASE's FixSymmetry, and the same space group at the end as at the start."""

import builtins

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from groundstate.atoms import OptionError, RunError, System
from groundstate.data import from_ase
from groundstate.potentials import Potential, evaluate
from groundstate.simulation import RelaxConfig, relax
from groundstate.simulation.relaxation.coordinates import Coordinates
from groundstate.simulation.relaxation.symmetry import symmetric
from toys import fcc, lennard_jones

spglib = pytest.importorskip("spglib")
TIGHT = 3e-4
KEPT = RelaxConfig(force_tolerance=TIGHT, max_steps=2000, cell="full", keep_symmetry=0.01)


pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


def space_group(system: System, symprec: float = 1e-3) -> int:
    cell = (system.cell[0].numpy(), np.linalg.solve(system.cell[0].numpy().T, system.positions.numpy().T).T)
    return spglib.get_symmetry_dataset((*cell, system.numbers.numpy()), symprec=symprec).number


def crystals() -> dict[str, System]:
    """Saddles and slopes of a pair potential that wants fcc: they leave their symmetry when nobody holds it."""
    return {
        "wurtzite": from_ase(bulk("ZnO", "wurtzite", a=3.6, c=6.2, u=0.4)),
        "tetragonal body-centred": System.single(
            [[0, 0, 0], [1.3, 1.3, 1.2]], [29, 29], cell=[[2.6, 0, 0], [0, 2.6, 0], [0, 0, 2.4]], pbc=True
        ),
        "diamond supercell": from_ase(bulk("Si", "diamond", a=4.6, cubic=True) * (2, 1, 1)),
        "simple cubic": from_ase(bulk("Po", "sc", a=2.55) * (2, 2, 2)),
    }


@pytest.fixture
def pair() -> Potential:
    return lennard_jones(cutoff=4.5)


def test_minima_are_those_of_ase_and_the_space_group_stays(pair, ase_twin):
    given = crystals()
    for (name, start), result in zip(given.items(), relax(System.batch(list(given.values())), pair, KEPT), strict=True):
        atoms = ase_twin(start)
        atoms.set_constraint(FixSymmetry(atoms, symprec=0.01))
        assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=TIGHT, steps=2000), name
        assert result.converged, (name, result.reason)
        assert result.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-5), name
        assert float(result.system.volume) == pytest.approx(atoms.get_volume(), rel=3e-4), name
        assert space_group(result.system) == space_group(start), name
        assert "symmetry kept" in result.notes[0]


@pytest.mark.parametrize("name", list(crystals()))
def test_the_projector_is_the_mean_over_the_operations(name):
    start = crystals()[name]
    none = torch.zeros(start.n_atoms, dtype=torch.bool)
    kept = symmetric(start, none, None, 0.01)
    cell, generator = start.cell[0].numpy(), np.random.default_rng(0)
    fractional = np.linalg.solve(cell.T, start.positions.numpy().T).T
    found = spglib.get_symmetry((cell, fractional, start.numbers.numpy()), symprec=0.01)
    rows, strain = generator.normal(size=(start.n_atoms, 3)), generator.normal(size=(3, 3))
    strain = strain + strain.T
    mean_rows, mean_strain = np.zeros_like(rows), np.zeros_like(strain)
    for rotation, translation in zip(found["rotations"], found["translations"], strict=True):
        turn = np.linalg.inv(cell) @ rotation.T @ cell
        gaps = (fractional @ rotation.T + translation)[:, None] - fractional[None]
        image = np.linalg.norm((gaps - np.round(gaps)) @ cell, axis=2).argmin(axis=1)
        mean_rows[image] += rows @ turn / len(found["rotations"])
        mean_strain += turn.T @ strain @ turn / len(found["rotations"])
    projected = kept.symmetry.project(Coordinates(torch.from_numpy(rows), torch.from_numpy(strain)[None]))
    np.testing.assert_allclose(projected.atoms.numpy(), mean_rows, atol=1e-9)
    np.testing.assert_allclose(projected.cell[0].numpy(), mean_strain, atol=1e-9)


@pytest.mark.parametrize("minimiser", ["fire", "lbfgs"])
def test_noise_within_the_tolerance_is_removed_and_does_not_grow(pair, minimiser):
    exact = crystals()["wurtzite"]
    noise = 0.002 * torch.randn(exact.positions.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noisy = exact.replace(positions=exact.positions + noise)
    config = RelaxConfig(force_tolerance=TIGHT, max_steps=2000, cell="full", keep_symmetry=0.02, minimiser=minimiser)
    clean, result = relax(System.batch([exact, noisy]), pair, config)
    assert space_group(noisy, 1e-5) == 1
    assert space_group(result.system, 1e-5) == space_group(exact, 1e-5) == 186
    assert result.energy == pytest.approx(clean.energy, abs=1e-5)
    forces = evaluate(pair, result.system, ("forces",))["forces"]
    assert float(forces.abs().max()) < 2 * TIGHT  # the whole force, not its symmetric part only


def test_a_slab_keeps_its_layer_group_and_nothing_leads_across_the_vacuum(pair):
    layers = fcc(lattice_constant=3.7)
    cell = torch.diag(torch.tensor([3.7, 3.7, 3.7], dtype=torch.float64))[None]
    # The open vector is the bulk's own, so that a search in three periods would find the bulk's operations.
    slab = layers.replace(cell=cell, pbc=torch.tensor([[True, True, False]]))
    none = torch.zeros(4, dtype=torch.bool)
    kept = symmetric(slab, none, None, 0.01)
    assert "16 operations" in kept.note or "32 operations" in kept.note
    push = torch.zeros(4, 3, dtype=torch.float64)
    push[:, 2] = slab.positions[:, 2] - slab.positions[:, 2].mean()
    torch.testing.assert_close(kept.symmetry.vectors(push), push)  # layers may part: allowed in a slab only
    result = relax(slab, pair, KEPT)[0]
    assert result.converged
    assert torch.equal(result.system.cell[0, 2], slab.cell[0, 2])
    assert float(result.system.cell[0, 0, 0]) == pytest.approx(float(result.system.cell[0, 1, 1]), rel=1e-9)


def test_contradictions_are_refused_with_a_reason(pair, molecule):
    cubic = fcc(lattice_constant=3.6)
    one = torch.tensor([True, False, False, False])
    results = relax(cubic, pair, KEPT, fixed_atoms=one)
    assert (results[0].status, results[0].code) == ("invalid", "E-SYMMETRY")
    mask = ((False, False, False), (False, True, False), (False, False, True))
    masked = relax(cubic, pair, RelaxConfig(cell="full", cell_mask=mask, keep_symmetry=0.01))
    assert masked[0].code == "E-SYMMETRY"
    assert "cell mask" in masked[0].reason
    assert relax(molecule, pair, RelaxConfig(keep_symmetry=0.01))[0].code == "E-SYMMETRY"
    field = cubic.replace(field=torch.tensor([[0.0, 0.0, 0.1]], dtype=torch.float64))
    assert relax(field, pair, KEPT)[0].code == "E-SYMMETRY"
    with pytest.raises(OptionError, match="keep_symmetry"):
        RelaxConfig(keep_symmetry=-1.0)


def test_moments_lower_the_symmetry(pair):
    cubic = fcc(lattice_constant=3.6)
    moments = torch.tensor([[0, 0, 1], [0, 0, -1], [0, 0, -1], [0, 0, 1]], dtype=torch.float64)
    none = torch.zeros(4, dtype=torch.bool)
    plain = symmetric(cubic, none, None, 0.01).note
    assert "(225)" in plain
    assert "(123)" in symmetric(cubic.replace(moments=moments), none, None, 0.01).note


def test_without_spglib_it_says_what_to_install(pair, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "spglib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(RunError, match=r"E-EXTRA-MISSING.*pip install"):
        relax(fcc(), pair, KEPT)
