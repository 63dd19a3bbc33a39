"""Batched relaxations land where ASE's FIRE with FrechetCellFilter lands."""

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from groundstate.atoms import System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.potentials import evaluate
from groundstate.simulation import RelaxConfig, relax

TIGHT = 3e-4


def ase_minimum(atoms, *, filtered: bool, tolerance: float = TIGHT, **options):
    target = FrechetCellFilter(atoms, **options) if filtered else atoms
    assert FIRE(target, logfile=None).run(fmax=tolerance, steps=2000)
    return atoms.get_potential_energy(), atoms.get_volume() if filtered else 0.0


def test_positions_of_crystal_slab_and_molecule_together(potential, crystal, slab, molecule, ase_twin):
    batch = [crystal(1), slab, molecule]
    results = relax(System.batch(batch), potential, RelaxConfig(force_tolerance=TIGHT, max_steps=2000))
    for result, system in zip(results, batch, strict=True):
        energy, _ = ase_minimum(ase_twin(system), filtered=False)
        assert result.converged
        assert result.max_force <= TIGHT
        assert result.energy == pytest.approx(energy, abs=1e-6)
        assert torch.equal(result.system.cell, system.cell)


@pytest.mark.parametrize(
    ("cell", "options"),
    [("full", {}), ("isotropic", {"hydrostatic_strain": True}), ("shape", {"constant_volume": True})],
)
def test_cells_of_crystals(potential, crystal, sheared, ase_twin, cell, options):
    batch = [sheared, crystal(2, lattice_constant=3.75)]
    config = RelaxConfig(force_tolerance=TIGHT, max_steps=3000, cell=cell)
    for result, system in zip(relax(System.batch(batch), potential, config), batch, strict=True):
        energy, volume = ase_minimum(ase_twin(system), filtered=True, **options)
        assert result.converged
        assert result.energy == pytest.approx(energy, abs=1e-6)
        assert float(result.system.volume) == pytest.approx(volume, rel=1e-4)
        assert max(result.max_force, result.max_cell_force) <= TIGHT


DIAGONAL = ((True, False, False), (False, True, False), (False, False, True))
ALONG_Z = ((False, False, False), (False, False, False), (False, False, True))


@pytest.mark.parametrize(
    ("ours", "ases"),
    [
        ({"cell": "full", "cell_mask": DIAGONAL}, {"mask": [1, 1, 1, 0, 0, 0]}),
        ({"cell": "full", "cell_mask": ALONG_Z}, {"mask": [0, 0, 1, 0, 0, 0]}),
        ({"cell": "isotropic", "pressure_GPa": -2.0}, {"hydrostatic_strain": True, "scalar_pressure": -2 * GIGAPASCAL}),
        (
            {"cell": "full", "cell_mask": DIAGONAL, "pressure_GPa": 5.0},
            {"mask": [1, 1, 1, 0, 0, 0], "scalar_pressure": 5 * GIGAPASCAL},
        ),
    ],
)
def test_masks_and_pressures_mean_what_they_mean_in_ase(potential, sheared, ase_twin, ours, ases):
    result = relax(sheared, potential, RelaxConfig(force_tolerance=TIGHT, max_steps=3000, **ours))[0]
    energy, volume = ase_minimum(ase_twin(sheared), filtered=True, **ases)
    assert result.converged
    assert result.energy == pytest.approx(energy, abs=2e-5)
    assert float(result.system.volume) == pytest.approx(volume, rel=3e-4)


def test_slab_relaxes_in_its_plane_only(potential, slab, ase_twin):
    result = relax(slab, potential, RelaxConfig(force_tolerance=TIGHT, max_steps=3000, cell="full"))[0]
    energy, volume = ase_minimum(ase_twin(slab), filtered=True, mask=[1, 1, 0, 0, 0, 1])
    assert result.converged
    assert result.energy == pytest.approx(energy, abs=1e-5)
    assert float(result.system.volume) == pytest.approx(volume, rel=1e-4)
    assert torch.equal(result.system.cell[0, 2], slab.cell[0, 2])
    assert result.stress is None


def test_pressure_minimises_the_enthalpy(potential, crystal, ase_twin):
    pressure = 10.0
    config = RelaxConfig(force_tolerance=TIGHT, max_steps=3000, cell="full", pressure_GPa=pressure)
    system = crystal(1)
    result = relax(system, potential, config)[0]
    energy, volume = ase_minimum(ase_twin(system), filtered=True, scalar_pressure=pressure * GIGAPASCAL)
    assert result.energy == pytest.approx(energy, abs=1e-5)
    assert float(result.system.volume) == pytest.approx(volume, rel=1e-4)
    assert result.enthalpy == pytest.approx(result.energy + pressure * GIGAPASCAL * volume, rel=1e-4)
    assert float(result.stress.trace()) / 3 / GIGAPASCAL == pytest.approx(-pressure, rel=1e-3)
    assert result.volume_ratio == pytest.approx(float(result.system.volume / system.volume), rel=1e-12)


def test_fixed_atoms_do_not_move_and_do_not_count(potential, slab, ase_twin):
    fixed = slab.positions[:, 2] < 2.0
    result = relax(slab, potential, RelaxConfig(force_tolerance=TIGHT, max_steps=2000), fixed_atoms=fixed)[0]
    atoms = ase_twin(slab)
    atoms.set_constraint(FixAtoms(mask=fixed.numpy()))
    energy, _ = ase_minimum(atoms, filtered=False)
    assert result.converged
    assert result.energy == pytest.approx(energy, abs=1e-6)
    assert torch.equal(result.system.positions[fixed], slab.positions[fixed])
    assert float(result.forces[fixed].abs().max()) > 10 * TIGHT


def test_mask_holds_the_other_strains(potential, sheared):
    mask = ((False, False, False), (False, False, False), (False, False, True))
    config = RelaxConfig(force_tolerance=1e-3, max_steps=2000, cell="full", cell_mask=mask)
    result = relax(sheared, potential, config)[0]
    before, after = sheared.cell[0], result.system.cell[0]
    assert result.converged
    torch.testing.assert_close(after[:, :2], before[:, :2], rtol=0, atol=1e-12)
    assert float((after[:, 2] - before[:, 2]).abs().max()) > 1e-3
    assert abs(float(result.stress[2, 2])) < 0.1 * abs(float(result.stress[0, 0]))


def test_mask_and_constant_volume_hold_together(potential, sheared):
    mask = ((True, False, False), (False, True, False), (False, False, False))
    config = RelaxConfig(force_tolerance=1e-3, max_steps=2000, cell="shape", cell_mask=mask)
    result = relax(sheared, potential, config)[0]
    assert result.converged
    assert float(result.system.volume) == pytest.approx(float(sheared.volume), rel=1e-12)
    torch.testing.assert_close(result.system.cell[0, :, 2], sheared.cell[0, :, 2], rtol=0, atol=1e-12)


def test_a_batch_equals_its_singles_however_it_is_packed(potential, crystal, sheared, slab):
    batch = [crystal(1), sheared, slab, crystal(2)]
    config = RelaxConfig(force_tolerance=0.05, cell="full")
    packed = RelaxConfig(force_tolerance=0.05, cell="full", max_atoms_per_batch=36)
    together = relax(System.batch(batch), potential, config)
    refilled = relax(System.batch(batch), potential, packed)
    for k, system in enumerate(batch):
        alone = relax(system, potential, config)[0]
        for other in (together[k], refilled[k]):
            assert (other.status, other.steps, other.index) == (alone.status, alone.steps, k)
            assert other.energy == pytest.approx(alone.energy, abs=1e-10)
            torch.testing.assert_close(other.system.positions, alone.system.positions, rtol=0, atol=1e-8)


def test_left_handed_cell_relaxes_like_its_mirror_image(potential, sheared):
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    image = sheared.replace(positions=sheared.positions @ mirror, cell=sheared.cell @ mirror)
    config = RelaxConfig(force_tolerance=1e-3, cell="full")
    result, reflected = relax(System.batch([sheared, image]), potential, config)
    assert reflected.energy == pytest.approx(result.energy, abs=1e-9)
    assert reflected.volume_ratio == pytest.approx(result.volume_ratio, rel=1e-9)
    assert any("left-handed" in note for note in reflected.notes)


def test_reported_numbers_are_those_of_the_returned_structure(potential, sheared):
    result = relax(sheared, potential, RelaxConfig(force_tolerance=0.02, cell="full"))[0]
    again = evaluate(potential, result.system, ("energy", "forces", "stress"))
    assert result.energy == pytest.approx(float(again["energy"]), abs=1e-10)
    torch.testing.assert_close(result.forces, again["forces"], rtol=0, atol=1e-10)
    torch.testing.assert_close(result.stress, again["stress"][0], rtol=0, atol=1e-10)
    assert result.max_force == pytest.approx(float(np.linalg.norm(again["forces"].numpy(), axis=1).max()), abs=1e-10)
    assert result.record["potential"] == potential.fingerprint()
    assert result.record["config"]["cell"] == "full"


def test_a_converged_start_takes_no_step(potential, crystal):
    config = RelaxConfig(force_tolerance=1e-3)
    first = relax(crystal(1), potential, config)[0]
    second = relax(first.system, potential, config)[0]
    assert (second.status, second.steps) == ("converged", 0)
    assert torch.equal(second.system.positions, first.system.positions)
