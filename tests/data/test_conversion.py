"""ASE and pymatgen to System and back."""

import builtins
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from groundstate.atoms import GroundstateError, System
from groundstate.data import from_ase, from_pymatgen, read, to_ase, to_pymatgen


def test_ase_round_trip() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.pbc = (True, True, False)
    atoms.info |= {"charge": 2, "spin": 3}
    masses = atoms.get_masses()
    masses[1] = 65.0
    atoms.set_masses(masses)
    atoms.set_constraint(FixAtoms([0]))
    (back,) = to_ase(from_ase(atoms))
    assert np.array_equal(back.positions, atoms.positions)
    assert np.array_equal(back.cell, atoms.cell)
    assert back.pbc.tolist() == [True, True, False]
    assert back.get_masses().tolist() == masses.tolist()
    assert back.info == {"charge": 2, "spin": 3}
    assert not back.constraints


def test_standard_masses_are_not_written() -> None:
    (atoms,) = to_ase(System.single([[0.0, 0, 0]], [29]))
    assert not atoms.has("masses")
    assert atoms.info == {}


def test_a_batch_becomes_as_many_structures() -> None:
    single = System.single([[0.0, 0, 0], [0, 0, 2.5]], [29, 29], charge=0.5)
    first, second = to_ase(System.batch([single, single]))
    assert first == second
    assert first.info == {"charge": 0.5}


def test_a_live_calculator_does_not_hinder() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.get_potential_energy()
    atoms.rattle(0.1, seed=1)
    assert torch.equal(from_ase(atoms).positions, torch.from_numpy(atoms.positions))


def test_conflicting_conditions_are_refused() -> None:
    with pytest.raises(GroundstateError, match="E-CONDITION-CONFLICT"):
        from_ase(Atoms("H", info={"charge": 1, "total_charge": 0}))


@pytest.fixture(scope="module")
def core() -> ModuleType:
    """pymatgen's structures."""
    return pytest.importorskip("pymatgen.core", reason="pymatgen is an optional extra")


def test_pymatgen_structure(core: ModuleType, tmp_path: Path) -> None:
    lattice = core.Lattice([[0, 2.1, 2.1], [2.1, 0, 2.1], [2.1, 2.1, 0]])
    structure = core.Structure(lattice, ["Mg2+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    system = from_pymatgen(structure)
    assert system.numbers.tolist() == [12, 8]
    assert system.charge is None
    assert np.allclose(system.positions.numpy(), structure.cart_coords, atol=1e-14)
    (back,) = to_pymatgen(system)
    assert np.allclose(back.lattice.matrix, lattice.matrix, atol=1e-14)
    assert back.pbc == (True, True, True)
    (tmp_path / "mgo.json").write_text(json.dumps(structure.as_dict()))
    assert torch.equal(read(tmp_path / "mgo.json").records[0].system.positions, system.positions)


def test_pymatgen_slab_and_charge(core: ModuleType) -> None:
    slab = System.single([[0.0, 0, 0], [0, 0, 2]], [12, 8], cell=np.eye(3) * 4, pbc=(True, True, False), charge=1.0)
    (structure,) = to_pymatgen(slab)
    assert structure.pbc == (True, True, False)
    assert structure._charge == 1.0


def test_pymatgen_molecule(core: ModuleType) -> None:
    molecule = core.Molecule(["O", "H"], [[0, 0, 0], [0, 0, 0.97]], charge=-1)
    system = from_pymatgen(molecule)
    assert (float(system.charge), int(system.multiplicity)) == (-1.0, 1)  # type: ignore[arg-type]
    assert not bool(system.pbc.any())
    (back,) = to_pymatgen(system)
    assert (back.charge, back.spin_multiplicity) == (-1.0, 1)


def test_pymatgen_disorder_is_refused(core: ModuleType) -> None:
    alloy = core.Structure(core.Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(GroundstateError, match=r"E-DISORDER.*Cu 0\.5"):
        from_pymatgen(alloy)


def test_json_entries_with_labels(tmp_path: Path) -> None:
    site = {"species": [{"element": "Mg", "occu": 1}], "xyz": [0, 0, 0]}
    other = {"species": [{"element": "O", "occu": 1}], "xyz": [2, 2, 2]}
    structure = {"lattice": {"matrix": (4 * np.eye(3)).tolist()}, "sites": [site, other]}
    entry = {"structure": structure, "energy": -11.5, "forces": [[0, 0, 0.1], [0, 0, -0.1]], "mp_id": "mp-1265"}
    (tmp_path / "a.json").write_text(json.dumps([entry]))
    (record,) = read(tmp_path / "a.json").records
    assert float(record.labels["energy"]) == -11.5
    assert record.labels["forces"][0].tolist() == [0, 0, 0.1]
    assert record.provenance.tags["mp_id"] == "mp-1265"


def test_missing_pymatgen_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pymatgen"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(GroundstateError, match=r"E-EXTRA-MISSING.*[Pp]ip install 'groundstate\[pymatgen\]'"):
        to_pymatgen(System.single([[0.0, 0, 0]], [29]))
