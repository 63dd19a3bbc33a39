"""Adsorption: sites by name, placement and orientation, references, coverage and what went wrong."""

import pytest
import torch
from ase.build import fcc100, fcc111

from groundstate.atoms import OptionError, StructureError, System
from groundstate.data import from_ase
from groundstate.potentials import evaluate
from groundstate.simulation.builders import AdsorptionConfig, Settings, adsorption, adsorption_sites
from groundstate.simulation.builders.adsorption import lower_atoms, placed, turned
from toys import lennard_jones

POTENTIAL = lennard_jones(cutoff=4.5)
DIMER = System.single([[0.0, 0.0, 0.0], [0.0, 0.0, 2.5]], [29, 29])


def slab(size: tuple[int, int, int] = (2, 2, 3)) -> System:
    atoms = fcc111("Cu", size, a=3.54, vacuum=8.0)
    atoms.pbc = True
    return from_ase(atoms)


def test_sites_have_the_names_of_the_field():
    atoms = fcc111("Cu", (3, 3, 4), a=3.54, vacuum=8.0)
    atoms.pbc = True
    sites = {site.name: site for site in adsorption_sites(from_ase(atoms))}
    assert sorted(sites) == ["bridge", "fcc hollow", "hcp hollow", "top"]
    # ASE knows where they are on its own slab, in units of the surface cell.
    unit = torch.from_numpy(atoms.cell.array[:2, :2] / 3)
    for name, known in (("fcc hollow", "fcc"), ("hcp hollow", "hcp"), ("top", "ontop")):
        offset = sites[name].position[:2] - torch.from_numpy(atoms.positions[-9, :2])
        steps = torch.linalg.solve(unit.T, offset) - torch.tensor(atoms.info["adsorbate_info"]["sites"][known])
        torch.testing.assert_close(steps, steps.round(), atol=1e-6, rtol=0)
    square = fcc100("Cu", (2, 2, 3), a=3.54, vacuum=8.0)
    square.pbc = True
    assert sorted(site.name for site in adsorption_sites(from_ase(square))) == ["bridge", "hollow", "top"]


def test_the_energy_is_the_difference_it_says(tmp_path):
    config = AdsorptionConfig(sites=("top", "hollow"), settings=Settings(force_tolerance=5e-3))
    result = adsorption(slab(), DIMER, POTENTIAL, config, output=tmp_path)
    assert sorted(one.site.name for one in result.sites) == ["fcc hollow", "hcp hollow", "top"]
    for one in result.sites:
        energies = [
            float(evaluate(POTENTIAL, system, ("energy",))["energy"])
            for system in (one.relaxation.system, result.slab.system, result.molecule.system)
        ]
        assert one.energy == pytest.approx(energies[0] - energies[1] - energies[2], abs=1e-9)
        assert one.ended_at == one.site.name
        assert min(energy for energy in one.curve if energy is not None) >= one.energy - 1e-6
        held = lower_atoms(slab(), 0.5)
        torch.testing.assert_close(one.relaxation.system.positions[:12][held], slab().positions[held])
    assert result.best.site.kind == "hollow"
    assert result.coverage == pytest.approx(0.25)
    assert f"{result.slab.energy:.5f} eV" in result.subtracted
    again = adsorption(slab(), DIMER, POTENTIAL, config, output=tmp_path)
    assert again.best.energy == pytest.approx(result.best.energy, abs=1e-9)


def test_orientations():
    for name, axis in (("up", [0, 0, 1]), ("down", [0, 0, -1]), ("flat", [1, 0, 0])):
        body = turned(DIMER, 0, name)
        torch.testing.assert_close(body[1], 2.5 * torch.tensor(axis, dtype=torch.float64), atol=1e-9, rtol=0)
        assert float(body[0].abs().max()) == 0.0
    tilted = System.single([[0, 0, 0], [1, 0, 0], [0, 1, 0.5]], [8, 1, 1])
    body = turned(tilted, 0, "down")
    torch.testing.assert_close(torch.cdist(body, body), torch.cdist(tilted.positions, tilted.positions))
    assert torch.equal(turned(tilted, 0, "as_given"), tilted.positions)
    site = adsorption_sites(slab())[0]
    joined = placed(
        slab(),
        DIMER,
        turned(DIMER, 0, "up"),
        site,
        2.0,
    )
    top = float(slab().positions[:, 2].max())
    assert joined.positions[-2:, 2].tolist() == pytest.approx([top + 2.0, top + 4.5])
    assert float((joined.positions[-2, :2] - site.position[:2]).abs().max()) < 1e-9


def test_what_is_doubtful_is_said():
    thin = slab((1, 1, 2))
    config = AdsorptionConfig(sites=("top",), heights=(2.0,), settings=Settings(max_steps=300, force_tolerance=0.05))
    result = adsorption(thin, System.single([[0.0, 0.0, 0.0]], [29]), POTENTIAL, config)
    assert any("from their images" in warning for warning in result.warnings)
    assert result.coverage == 1.0
    far = AdsorptionConfig(sites=("top",), heights=(6.0,), settings=Settings(force_tolerance=0.05))
    left = adsorption(slab(), DIMER, POTENTIAL, far)
    assert any("left the surface" in warning for warning in left.sites[0].warnings)
    assert left.sites[0].energy == pytest.approx(0.0, abs=1e-3)


def test_wrong_input_is_refused():
    with pytest.raises(StructureError, match="E-MOLECULE"):
        adsorption(slab(), slab(), POTENTIAL)
    with pytest.raises(StructureError, match="E-SLAB"):
        adsorption(DIMER, DIMER, POTENTIAL)
    with pytest.raises(OptionError, match="E-ATOM-LIST"):
        adsorption(slab(), DIMER, POTENTIAL, AdsorptionConfig(anchor=2))
    with pytest.raises(OptionError, match="sites='edge'"):
        AdsorptionConfig(sites=("edge",))
    unrelaxed = AdsorptionConfig(settings=Settings(max_steps=1, force_tolerance=1e-6))
    with pytest.raises(StructureError, match="E-ADSORPTION-REFERENCE"):
        adsorption(slab(), DIMER, POTENTIAL, unrelaxed)
