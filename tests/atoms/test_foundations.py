"""Units, elements, quantities, theory, errors and the batch."""

import ase.data
import ase.units
import pytest
import torch

from groundstate.atoms import (
    DataError,
    LevelOfTheory,
    OptionError,
    StructureError,
    System,
    nearest,
    quantities,
    quantity,
    units,
)
from groundstate.atoms.elements import element, from_label, periodic_table
from toys import fcc


def test_units_equal_ase() -> None:
    """ASE keeps CODATA 2014, which differs in the seventh digit."""
    for ours, theirs in [
        (units.BOLTZMANN, ase.units.kB),
        (units.FEMTOSECOND, ase.units.fs),
        (units.GIGAPASCAL, ase.units.GPa),
        (units.HARTREE, ase.units.Hartree),
        (units.BOHR, ase.units.Bohr),
        (units.COULOMB, ase.units.Hartree * ase.units.Bohr),
    ]:
        assert ours == pytest.approx(theirs, rel=1e-6)
    assert pytest.approx(160.21766208) == 1 / units.GIGAPASCAL


def test_masses_equal_ase() -> None:
    assert len(periodic_table()) == 118
    for row in periodic_table():
        assert (row.symbol, row.mass) == (ase.data.chemical_symbols[row.number], ase.data.atomic_masses[row.number])
        assert 0.2 < row.covalent_radius < 2.7


@pytest.mark.parametrize(
    ("label", "symbol", "noted"),
    [("Fe", "Fe", False), ("Fe3+", "Fe", True), ("O2-", "O", True), ("D", "H", True), ("Ti1", "Ti", True)],
)
def test_site_labels(label: str, symbol: str, noted: bool) -> None:
    found, note = from_label(label)
    assert found.symbol == symbol
    assert bool(note) == noted


def test_unknown_labels_are_refused_with_the_nearest() -> None:
    with pytest.raises(StructureError, match="E-ELEMENT-UNKNOWN"):
        from_label("Xx")
    with pytest.raises(StructureError, match="dummy"):
        element(0)


def test_every_quantity_has_a_unit_and_keys_are_unambiguous() -> None:
    keys = [key for row in quantities().values() for key in row.keys]
    assert len(keys) == len(set(keys))
    assert all(row.unit and row.meaning for row in quantities().values())
    assert quantity("energy").extensive
    assert not quantity("stress").extensive
    with pytest.raises(OptionError, match="forces"):
        quantity("force")


def test_levels_of_theory_are_equal_only_when_every_field_is() -> None:
    pbe, plus_u = LevelOfTheory("PBE"), LevelOfTheory("PBE", hubbard_u=(("Fe", 5.3), ("Co", 3.32)))
    assert plus_u == LevelOfTheory("PBE", hubbard_u=(("Co", 3.32), ("Fe", 5.3)))
    assert pbe.differences(plus_u) == ("hubbard_u",)
    assert pbe.id != plus_u.id
    assert plus_u.label == "PBE+U"
    assert LevelOfTheory.from_dict(plus_u.as_dict()) == plus_u
    with pytest.raises(OptionError, match="functional"):
        LevelOfTheory.from_dict({"functionl": "PBE"})
    with pytest.raises(OptionError, match="E-THEORY-INCOMPLETE"):
        LevelOfTheory("")


def test_errors_read_code_what_where_why_fix() -> None:
    error = DataError("E-X", "it is wrong", why="it matters", fix="do this", file="a.xyz", frame=3, atoms=[0, 5])
    assert str(error) == "E-X: it is wrong [a.xyz: frame 3: atoms 0, 5]. It matters. Do this."
    assert error.as_dict()["atoms"] == [0, 5]
    assert error.at(frame=4).frame == 4
    assert error.at(frame=4).file == "a.xyz"
    assert nearest("chgnt", ["chgnet", "mace"]) == "Did you mean 'chgnet'?"
    assert nearest("zzzzz", ["chgnet", "mace"]) == "Known: chgnet, mace"


def test_a_batch_takes_apart_what_it_put_together() -> None:
    parts = [fcc(), System.single([[0.0, 0, 0]], [1]), fcc(repeats=2)]
    batch = System.batch(parts)
    assert len(batch) == 3
    for part, again in zip(parts, batch, strict=True):
        for name in ("positions", "numbers", "cell", "pbc", "masses"):
            assert torch.equal(getattr(part, name), getattr(again, name))
    chosen = batch.select([2, 0])
    assert chosen.atoms_per_system.tolist() == [32, 4]
    assert torch.equal(batch[-1].positions, parts[2].positions)
    torch.testing.assert_close(batch.sum_over_atoms(batch.masses), torch.stack([part.masses.sum() for part in parts]))
    assert len(batch.select([])) == 0


def test_not_given_is_not_zero() -> None:
    water, ion = System.single([[0.0, 0, 0]], [8]), System.single([[0.0, 0, 0]], [8], charge=-1.0)
    with pytest.raises(OptionError, match="E-BATCH-MIXED"):
        System.batch([water, ion])
    with pytest.raises(OptionError, match="E-BATCH-EMPTY"):
        System.batch([])
    assert System.batch([ion, ion]).charge is not None
