"""Heat transport through phono3py: κ ∝ 1/T of three-phonon scattering, symmetry, what is refused."""

import pytest
import torch

from groundstate.atoms import System
from groundstate.simulation.properties import ConductivityConfig, PhononConfig, thermal_conductivity
from toys import fcc, lennard_jones

pytest.importorskip("phono3py", reason="thermal conductivity needs the extra 'conductivity'")
HARMONIC = PhononConfig(supercell=((2, 0, 0), (0, 2, 0), (0, 0, 2)), points_per_segment=5)


@pytest.mark.slow
def test_kappa_of_a_cubic_pair_crystal_falls_as_one_over_temperature() -> None:
    config = ConductivityConfig(phonons=HARMONIC, mesh=5, temperatures_K=(600.0, 1200.0))
    (outcome,) = thermal_conductivity(fcc(lattice_constant=3.6), lennard_jones(cutoff=4.5), config)
    found = outcome.unwrap()
    low, high = found.kappa
    isotropic = float(low[0, 0]) * torch.eye(3, dtype=torch.float64)
    assert torch.allclose(low, isotropic, atol=1e-6)
    assert float(low[0, 0]) == pytest.approx(2 * float(high[0, 0]), rel=0.03)
    assert any("three-phonon" in note for note in outcome.notes)
    assert (found.mesh_error > 0.1) == any("not converged in the mesh" in note for note in outcome.notes)


def test_what_needs_too_many_displacements_is_refused_with_the_number() -> None:
    molecule = System.single([[0, 0, 0], [2.6, 0, 0]], [29, 29])
    batch = System.batch([fcc(lattice_constant=3.6), molecule])
    config = ConductivityConfig(phonons=HARMONIC, max_displaced=3)
    crystal, other = thermal_conductivity(batch, lennard_jones(cutoff=4.5), config)
    assert crystal.problem is not None
    assert crystal.problem.code == "E-SUPERCELL"
    assert "displaced supercells of 32 atoms" in crystal.problem.what
    assert other.problem is not None
    assert other.problem.code == "E-NOT-A-CRYSTAL"
