"""GPAW: refusals everywhere; silicon where it is installed (or named in GROUNDSTATE_GPAW_PYTHON)."""

import pytest
import torch
from ase.build import bulk

from groundstate.atoms import OptionError, RunError
from groundstate.data import from_ase
from groundstate.quantum import GPAW, Reference
from groundstate.quantum.engine import mesh
from groundstate.quantum.engines.gpaw import ENVIRONMENT

installed = pytest.mark.skipif(not ENVIRONMENT.installed, reason="gpaw is not installed in an environment of its own")


def test_the_mesh_follows_the_cell():
    assert mesh(from_ase(bulk("Si", cubic=True, a=5.43)), 0.35) == (4, 4, 4)
    long = from_ase(bulk("Si", cubic=True, a=5.43).repeat((1, 1, 3)))
    assert mesh(long, 0.35) == (4, 4, 2)
    assert mesh(from_ase(bulk("Si", cubic=True, a=5.43)), 10.0) == (1, 1, 1)


@pytest.mark.parametrize(
    ("engine", "crystal", "code"),
    [
        (GPAW(k_mesh=(2, 2, 2)), bulk("MgO", "rocksalt", 4.2), "E-K-MESH-COARSE"),
        (GPAW(cutoff_eV=600.0), bulk("MgO", "rocksalt", 4.2), "E-CUTOFF-LOW"),
        (GPAW(), bulk("Fe"), "E-MOMENTS-UNSTATED"),
        (GPAW(moments=(("Fe", 2.3),)), bulk("Fe"), None),
        (GPAW(cutoff_eV=400.0), bulk("Si"), None),
        (GPAW(cutoff_eV=600.0, k_mesh=(2, 2, 2), allow_coarse=True), bulk("MgO", "rocksalt", 4.2), None),
    ],
)
def test_settings_that_give_wrong_numbers_are_refused_unless_asked_by_name(engine, crystal, code):
    problem = engine.refusal(from_ase(crystal))
    assert (problem and problem.code) == code


def test_slabs_molecules_and_options():
    slab = bulk("Al", cubic=True)
    slab.pbc = (True, True, False)
    assert GPAW().refusal(from_ase(slab)).code == "E-NOT-A-CRYSTAL"
    with pytest.raises(OptionError, match="E-K-MESH-COARSE"):
        GPAW(k_spacing_per_A=0.8)
    assert GPAW(k_spacing_per_A=0.8, allow_coarse=True).k_spacing_per_A == 0.8
    assert set(GPAW(k_mesh=(4, 4, 4)).finer()) == {"cutoff 1000 eV", "k (6, 6, 6)"}


def test_where_it_is_missing_the_refusal_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("GROUNDSTATE_GPAW_PYTHON", raising=False)
    monkeypatch.setenv("GROUNDSTATE_ENVIRONMENTS", str(tmp_path))
    with pytest.raises(RunError, match=r"E-ENGINE-MISSING.*libxc-dev.*--install"):
        Reference(GPAW())


@installed
@pytest.mark.slow
def test_rattled_silicon():
    crystal = from_ase(bulk("Si", "diamond", 5.47))
    moved = crystal.replace(positions=crystal.positions + torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]).double())
    step = torch.tensor([[0.01, 0.0, 0.0], [0.0, 0.0, 0.0]]).double()
    nudged = [moved.replace(positions=moved.positions + sign * step) for sign in (1, -1)]
    with Reference(GPAW(cutoff_eV=300.0, k_spacing_per_A=0.5)) as reference:
        rest, label, up, down = reference.compute([crystal, moved, *nudged])
        assert reference.theory.functional == "PBE"
    assert rest.problem is None
    assert label.problem is None
    slope = (float(up.values["energy"]) - float(down.values["energy"])) / 0.02
    assert float(label.values["forces"][0, 0]) == pytest.approx(-slope, abs=5e-3)
    assert float(rest.values["forces"].abs().max()) < 1e-3
    # PBE silicon is in equilibrium near 5.47 Å.
    assert float(rest.values["stress"].abs().max()) < 0.05
