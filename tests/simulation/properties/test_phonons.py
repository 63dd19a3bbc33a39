"""Phonons: the Hessian of the supercell, phonopy by hand, imaginary modes told apart and followed, resumption."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from groundstate.atoms import Geometry, OptionError, System
from groundstate.atoms.units import BOLTZMANN, FEMTOSECOND
from groundstate.potentials import Energy, Model, Potential, Term, evaluate, hessian
from groundstate.simulation.properties import PhononConfig, Phonons, follow_mode, frequencies, phonons
from groundstate.simulation.properties.lattice import commensurate_points, phonopy_of, primitive_cell, with_constants
from groundstate.simulation.properties.modes import displaced, imaginary_modes
from groundstate.simulation.properties.spectrum import Bands
from toys import fcc, lennard_jones

pytest.importorskip("phonopy")
TWICE = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
QUICK = PhononConfig(supercell=TWICE, mesh_length=20.0, points_per_segment=11, temperatures_K=(0.0, 300.0, 3000.0))


@pytest.fixture(scope="module")
def potential() -> Potential:
    return lennard_jones(cutoff=4.5)


@pytest.fixture(scope="module")
def copper(potential: Potential) -> Phonons:
    return phonons(fcc(lattice_constant=3.6), potential, QUICK)[0].unwrap()


def test_frequencies_are_those_of_the_hessian(potential: Potential, copper: Phonons) -> None:
    cell = copper.lattice.cell
    a = float(cell.cell[0, 0, 0])
    crystal = fcc(lattice_constant=a, repeats=2)
    matrix = hessian(potential, crystal, method="autograd") / float(crystal.masses[0])
    values = torch.linalg.eigvalsh(matrix)
    by_hand = values.clamp_min(0).sqrt() * FEMTOSECOND * 1e3 / (2 * torch.pi)
    phonon = phonopy_of(cell, TWICE, 1e-4)
    found = frequencies(copper.lattice, commensurate_points(phonon))[0].flatten().sort().values
    assert torch.allclose(found, by_hand, atol=2e-3)  # finite displacements of 0.01 Å


def test_acoustic_modes_density_of_states_and_limits_of_heat(copper: Phonons) -> None:
    assert float(copper.gamma_THz.abs().max()) < 1e-5
    assert copper.stable
    assert copper.imaginary == ()
    integral = torch.trapezoid(copper.spectrum.density, copper.spectrum.frequencies_THz)
    assert float(integral) == pytest.approx(3.0, rel=0.02)
    assert float(copper.thermal.heat_capacity[2]) == pytest.approx(3 * BOLTZMANN, rel=0.01)  # Dulong and Petit
    assert float(copper.thermal.entropy[0]) == 0.0
    assert copper.residual_force < 1e-8
    assert copper.displacements == 1
    assert copper.bands.labels[0] == ("Γ", "X")
    x_point = copper.bands.frequencies_THz[copper.bands.segments[0][1] - 1]
    again = frequencies(copper.lattice, torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64))[0][0]
    assert torch.allclose(x_point, again, atol=1e-8)


def test_primitive_and_conventional_cells_give_the_same_phonons(potential: Potential, copper: Phonons) -> None:
    a = float(copper.lattice.cell.cell[0, 0, 0])
    half = a * torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]], dtype=torch.float64)
    single = System.single([[0.0, 0.0, 0.0]], [29], cell=half, pbc=True)
    conventional = ((-2, 2, 2), (2, -2, 2), (2, 2, -2))
    config = PhononConfig(supercell=conventional, mesh_length=20.0, points_per_segment=11, relax_first=False)
    found = phonons(single, potential, config)[0].unwrap()
    assert found.supercell_atoms == 32
    assert torch.allclose(found.bands.frequencies_THz, copper.bands.frequencies_THz, atol=1e-4)


def test_given_moments_do_not_break_the_symmetry(potential: Potential, copper: Phonons) -> None:
    crystal = fcc(lattice_constant=3.6)
    moments = torch.tensor([[0.0, 0.0, float(k)] for k in range(4)], dtype=torch.float64)
    found = phonons(crystal.replace(moments=moments), potential, QUICK)[0].unwrap()
    assert found.displacements == copper.displacements


class SquareWell(Term):
    """A pair potential whose first shell pushes along the bond: a crystal under it buckles."""

    cutoff = 3.2
    reaches_contact = True

    def forward(self, system: System, geometry: Geometry, outputs: dict[str, Tensor]) -> Energy:
        edges = geometry.edges(self.cutoff)
        short = torch.relu(3.0 - edges.distances)
        return Energy.of_atoms(system, 0.5 * edges.sum_to_receivers(8.0 * short**2))


def buckling() -> tuple[Potential, System]:
    """Simple cubic, whose shear no nearest neighbour resists, compressed so that transverse waves are unstable."""
    cell = System.single([[0.0, 0.0, 0.0]], [29], cell=2.6 * np.eye(3), pbc=True)
    return Model(None, {}, {"pair": SquareWell()}, description={"kind": "toy-buckling"}), cell


def test_imaginary_modes_are_found_classified_and_refused_on_demand() -> None:
    potential, cell = buckling()
    config = PhononConfig(supercell=TWICE, relax_first=False, mesh_length=15.0, points_per_segment=11)
    (outcome,) = phonons(cell, potential, config)
    found = outcome.unwrap()
    assert not found.stable
    worst = found.imaginary[0]
    assert worst.kind == "instability"
    assert worst.frequency_THz < -1
    assert all(abs(2 * x - round(2 * x)) < 1e-9 for x in worst.q)
    assert any("imaginary" in note for note in outcome.notes)
    (refused,) = phonons(cell, potential, PhononConfig(**{**vars(config), "imaginary": "refuse"}))
    assert refused.problem is not None
    assert refused.problem.code == "E-PHONONS-IMAGINARY"
    assert "THz" in refused.problem.what


def test_dips_between_computed_wave_vectors_are_told_from_noise_near_gamma(copper: Phonons) -> None:
    q = torch.tensor([[0.02, 0.02, 0.0], [0.45, 0.1, 0.3], [0.25, 0.2, 0.2], [0.5, 0.5, 0.0]], dtype=torch.float64)
    dips = torch.tensor([[-0.3, 1.0, 1.0], [-0.2, 1.0, 1.0], [1.0, 1.0, 1.0], [-9.0, 1.0, 1.0]], dtype=torch.float64)
    path = Bands(q, torch.arange(4.0, dtype=torch.float64), dips, ((0, 4),), (("Γ", "X"),))
    found = imaginary_modes(with_constants(copper.lattice), path, 0.1)
    # The last point fits the supercell, where the lattice itself says that it is stable.
    assert [(mode.kind, round(mode.frequency_THz, 3)) for mode in found] == [
        ("acoustic noise", -0.3),
        ("interpolated", -0.2),
    ]


def test_a_frozen_mode_has_the_curvature_of_its_frequency() -> None:
    potential, cell = buckling()
    config = PhononConfig(supercell=TWICE, relax_first=False, mesh_length=15.0, points_per_segment=11)
    found = phonons(cell, potential, config)[0].unwrap()
    mode = found.imaginary[0]

    def energy(amplitude: float) -> float:
        return float(evaluate(potential, displaced(found.lattice, mode, amplitude), ("energy",))["energy"])

    step = 0.01
    crystal = displaced(found.lattice, mode, step)
    shift = crystal.positions - displaced(found.lattice, mode, 1e-12).positions
    inertia = float((crystal.masses[:, None] * shift**2).sum())
    curvature = 2 * (energy(step) - energy(1e-12)) / inertia
    omega = mode.frequency_THz * 2 * np.pi / (FEMTOSECOND * 1e3)
    assert curvature == pytest.approx(-(omega**2), rel=0.01)


def test_following_a_mode_leads_to_a_lower_structure_of_lower_symmetry() -> None:
    potential, cell = buckling()
    config = PhononConfig(supercell=TWICE, relax_first=False, mesh_length=15.0, points_per_segment=11)
    found = phonons(cell, potential, config)[0].unwrap()
    followed = follow_mode(found.lattice, found.imaginary[0], potential, cell="fixed")
    assert followed.energy_gain > 0.01
    assert followed.parent_space_group == "Pm-3m"
    assert followed.space_group != "Pm-3m"


def test_many_structures_one_bad_and_a_repeated_call_computes_nothing(
    potential: Potential, copper: Phonons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, molecule = fcc(lattice_constant=3.6), System.single([[0, 0, 0], [2.6, 0, 0]], [29, 29])
    batch = System.batch([molecule, good])
    bad, fine = phonons(batch, potential, QUICK, output=tmp_path / "run")
    assert bad.problem is not None
    assert bad.problem.code == "E-NOT-A-CRYSTAL"
    assert torch.equal(fine.unwrap().lattice.constants, copper.lattice.constants)
    monkeypatch.setattr("groundstate.simulation.properties.batches._together", lambda *_: pytest.fail("computed again"))
    again = phonons(batch, potential, QUICK, output=tmp_path / "run")[1]
    assert torch.equal(again.unwrap().lattice.constants, fine.unwrap().lattice.constants)


def test_the_rule_of_length_and_its_limit(potential: Potential) -> None:
    config = PhononConfig(supercell_length=20.0, max_supercell_atoms=100)
    (outcome,) = phonons(fcc(lattice_constant=3.6), potential, config)
    assert outcome.problem is not None
    assert outcome.problem.code == "E-SUPERCELL"
    assert "6×6×6" in outcome.problem.what
    with pytest.raises(OptionError, match="E-SUPERCELL"):
        PhononConfig(supercell=((1, 0, 0), (1, 0, 0), (0, 0, 1)))


def test_the_primitive_cell_is_in_the_crystal_it_came_from(copper: Phonons) -> None:
    primitive = primitive_cell(copper.lattice)
    assert primitive.n_atoms == 1
    assert float(primitive.volume[0]) == pytest.approx(float(copper.lattice.cell.volume[0]) / 4)
