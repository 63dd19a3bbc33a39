"""Every bad file gets its code, its place and a way out."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read as ase_read

from groundstate.atoms import GroundstateError, LevelOfTheory
from groundstate.data import read, record_from_ase
from labelled_water import WATER, labelled_atoms

STRESS = 'stress="1e-3 0 0 0 2e-3 0 0 0 3e-3"'
VIRIAL = 'virial="-0.72 0 0 0 -1.44 0 0 0 -2.16"'
"""The virial of that stress: −720 Å³ × stress."""


def refused(tmp_path: Path, text: str, name: str = "bad.xyz", **options: Any) -> GroundstateError:
    """The error of a file with this text; it must name the file."""
    (tmp_path / name).write_text(text)
    with pytest.raises(GroundstateError) as caught:
        read(tmp_path / name, **options)
    assert name in str(caught.value)
    return caught.value


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).code == "E-FILE-EMPTY"


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train.xyz").write_text(WATER)
    with pytest.raises(GroundstateError, match=r"E-FILE-MISSING.*'train\.xyz'"):
        read(tmp_path / "tarin.xyz")


def test_unknown_format(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER, "data.xyzz")
    assert error.code == "E-FILE-FORMAT"
    assert ".extxyz" in error.fix


@pytest.mark.parametrize("cut", ["\nH -0.24 0.93 0 0 -0.2 -0.3\n", " -0.2 -0.3\n"])
def test_truncated_last_frame(tmp_path: Path, cut: str) -> None:
    text = WATER + WATER.removesuffix(cut)
    error = refused(tmp_path, text)
    assert (error.code, error.frame) == ("E-FILE-TRUNCATED", 1)
    saved = read(tmp_path / "bad.xyz", salvage=True)
    assert len(saved) == 1
    assert "left out: E-FILE-TRUNCATED" in saved.report.as_text()


def test_wrong_atom_count(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER + WATER.replace("3\nL", "2\nL") + WATER)
    assert (error.code, error.frame) == ("E-FILE-SYNTAX", 2)
    assert "number of atoms" in error.what


def test_a_row_with_too_few_columns(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER.replace("H 0.96 0 0 ", "H 0.96 0 ") + WATER)
    assert (error.code, error.frame) == ("E-FILE-SYNTAX", 0)
    assert "atom 1 has 6 columns" in error.what


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("energy=-14.25", "energy=n/a", "E-LABEL-TEXT", "'n/a'"),
        ("energy=-14.25", "energy=T", "E-LABEL-TEXT", "'T'"),
        ("energy=-14.25", 'energy="-14.25 0"', "E-LABEL-SHAPE", "(2,)"),
        ("energy=-14.25", "energy=nan", "E-LABEL-NOT-FINITE", "NaN"),
        ("energy=-14.25", "energy=-inf", "E-LABEL-NOT-FINITE", "infinite"),
        ("-0.1 0 0\n", "-0.1 nan 0\n", "E-LABEL-NOT-FINITE", "'forces'"),
        ("-0.1 0 0\n", "-0.1 x 0\n", "E-LABEL-TEXT", "'forces'"),
        ("energy=-14.25", "energy=-14.25 REF_energy=-3.1", "E-LABEL-CONFLICT", "REF_energy = -3.1, energy = -14.25"),
        ("energy=-14.25", "energy=-14.25 energy_unit=Hartree", "E-LABEL-UNIT", "Hartree"),
        ("forces:R:3", "forces:R:2:q:R:1", "E-LABEL-SHAPE", "(3, 2)"),
        ("forces:R:3", "forces:R:x", "E-FILE-SYNTAX", "Properties"),
        ('pbc="T T T"', 'pbc="T T"', "E-FILE-SYNTAX", "pbc"),
        ("8 0 0 0 9 0 0 0 10", "8 9 10", "E-FILE-SYNTAX", "Lattice"),
        ('Lattice="8 0 0 0 9 0 0 0 10" ', "", "E-CELL-MISSING", "cell is zero"),
        ("H 0.96", "X 0.96", "E-ELEMENT-UNKNOWN", "'X'"),
        ("H 0.96 0 0", "H 0.00 0 0", "E-ATOMS-COINCIDE", "same place"),
        ("H 0.96 0 0", "H nan 0 0", "E-POSITION-NOT-FINITE", "NaN"),
        ("config_type=water", "charge=1 total_charge=0", "E-CONDITION-CONFLICT", "charge=1, total_charge=0"),
        ("config_type=water", "spin=1 multiplicity=3", "E-CONDITION-CONFLICT", "multiplicity=3, spin=1"),
        ("config_type=water", "spin=0", "E-SPIN", "multiplicity 0"),
        ("config_type=water", "spin=0.5", "E-CONDITION-VALUE", "0.5"),
        ("config_type=water", "charge=neutral", "E-CONDITION-VALUE", "'neutral'"),
        (STRESS, 'stress="1 2 3 4 5 6"', "E-STRESS-CONVENTION", "six numbers"),
        (STRESS, 'stress="1 2 3"', "E-LABEL-SHAPE", "3 numbers"),
        (STRESS, 'stress="1 2 3 4 5 6 7 8 9"', "E-STRESS-ASYMMETRIC", "not symmetric"),
        (STRESS, STRESS + " stress_unit=GPa", "E-LABEL-UNIT", "GPa"),
        (STRESS, STRESS + " " + VIRIAL.replace("-", ""), "E-STRESS-VIRIAL", "opposite sign"),
        (STRESS, 'stress="0.160218 0 0 0 0.320435 0 0 0 0.480653" ' + VIRIAL, "E-STRESS-VIRIAL", "(GPa)"),
        (STRESS, 'stress="2e-3 0 0 0 1e-3 0 0 0 3e-3" ' + VIRIAL, "E-STRESS-VIRIAL", "not proportional"),
    ],
)
def test_refused_with_code_and_words(tmp_path: Path, old: str, new: str, code: str, words: str) -> None:
    assert old in WATER
    error = refused(tmp_path, WATER + WATER.replace(old, new))
    assert (error.code, error.frame) == (code, 1)
    assert words in str(error)
    assert error.fix


def test_stresses_in_another_unit(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER.replace(STRESS, 'stress="3 0 0 0 3 0 0 0 3"'))
    assert error.code == "E-STRESS-CONVENTION"
    assert "look like GPa" in error.why
    (record,) = read(tmp_path / "bad.xyz", stress_convention="ase").records
    assert float(record.labels["stress"][0, 0]) == 3.0


def test_nan_label_is_masked_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(WATER + WATER.replace("-14.25", "NaN") + WATER.replace("-14.25", "n/a"))
    data = read(tmp_path / "a.xyz", missing="mask", require=["energy"])
    assert ["energy" in record.labels for record in data.records] == [True, False, False]
    assert "masked there (2 frames)" in data.report.as_text()


def test_a_masked_label_is_not_replaced_by_another_key(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(WATER.replace("energy=", "REF_energy=nan energy="))
    assert "energy" not in read(tmp_path / "a.xyz", missing="mask").records[0].labels


def test_required_label_missing_in_some_frames(tmp_path: Path) -> None:
    text = WATER + WATER.replace("energy", "vasp_energy") * 2
    error = refused(tmp_path, text, require=["energy", "forces"])
    assert error.code == "E-LABEL-MISSING"
    assert "in 2 of 3 frames (frames 1, 2)" in error.what
    assert "keys={'energy': 'vasp_energy'}" in error.fix


def test_a_label_no_frame_has_cannot_be_masked(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER.replace("energy", "vasp_energy"), require=["energy"], missing="mask")
    assert error.code == "E-LABEL-MISSING"


@pytest.mark.parametrize(
    ("old", "new", "proposed"),
    [
        ("energy=", "vasp_energy=", "keys={'energy': 'vasp_energy'}"),
        ("forces:R:3", "dft_force:R:3", "keys={'forces': 'dft_force'}"),
        ("stress=", "DFT_stress=", "keys={'stress': 'DFT_stress'}, stress_convention="),
        ("stress=", "my_virial=", "keys={'virial': 'my_virial'}"),
    ],
)
def test_unread_labels_are_proposed(tmp_path: Path, old: str, new: str, proposed: str) -> None:
    (tmp_path / "a.xyz").write_text(WATER.replace(old, new))
    report = read(tmp_path / "a.xyz").report.as_text()
    assert proposed in report
    assert "although" in report


def test_named_key_that_no_frame_has(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER.replace("energy=", "vasp_energy="), keys={"energy": "vasp_enrgy"})
    assert error.code == "E-LABEL-KEY"
    assert "'vasp_energy'" in error.fix


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"keys": {"enregy": "E"}}, "E-QUANTITY-UNKNOWN"),
        ({"keys": {"hessian": "H"}}, "E-LABEL-KEY"),
        ({"require": ["force"]}, "E-QUANTITY-UNKNOWN"),
        ({"stress_convention": "kbar"}, "E-STRESS-CONVENTION"),
        ({"missing": "drop"}, "E-OPTION"),
    ],
)
def test_unknown_options(tmp_path: Path, options: dict[str, Any], code: str) -> None:
    (tmp_path / "a.xyz").write_text(WATER)
    with pytest.raises(GroundstateError) as caught:
        read(tmp_path / "a.xyz", **options)
    assert caught.value.code == code


def test_free_energy_and_its_limit_in_one_file(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER + WATER.replace("energy=", "free_energy="))
    assert error.code == "E-LABEL-MIXED"


def test_salvage_skips_a_bad_structure_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(WATER + WATER.replace("H 0.96", "X 0.96") + WATER)
    data = read(tmp_path / "a.xyz", salvage=True)
    assert [record.provenance.frame for record in data.records] == [0, 2]


def test_nothing_left_to_salvage(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER.replace("H 0.96", "X 0.96"), salvage=True)
    assert error.code == "E-FILE-EMPTY"
    assert "'X'" in error.what


def test_theory_conflict_and_unnamed_head(tmp_path: Path) -> None:
    stated = '"_JSON {\\"functional\\": \\"PBE\\"}"'
    text = WATER.replace("config_type=water", f"level_of_theory={stated}")
    assert refused(tmp_path, text, theory=LevelOfTheory("r2SCAN")).code == "E-THEORY-CONFLICT"
    error = refused(tmp_path, WATER, theory={"pbe": LevelOfTheory("PBE")})
    assert error.code == "E-THEORY-UNSTATED"
    assert "water" in error.what


def test_damaged_compressed_file(tmp_path: Path) -> None:
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(WATER.encode() * 50)[:-30])
    with pytest.raises(GroundstateError, match="E-FILE-"):
        read(tmp_path / "a.xyz.gz")


def test_calculator_and_info_that_differ() -> None:
    atoms = labelled_atoms()
    atoms.info["REF_energy"] = -3.0
    with pytest.raises(GroundstateError, match=r"REF_energy = -3, calculator\.energy = -14\.25"):
        record_from_ase(atoms)
    assert float(record_from_ase(atoms, keys={"energy": "calculator.energy"}).labels["energy"]) == -14.25
    assert float(record_from_ase(atoms, keys={"energy": "REF_energy"}).labels["energy"]) == -3.0


def test_text_that_ase_left_in_info_is_a_number() -> None:
    atoms = labelled_atoms()
    atoms.calc = None
    atoms.info["REF_energy"] = "-1.0D+02"
    assert float(record_from_ase(atoms).labels["energy"]) == -100.0


def test_stale_calculator() -> None:
    atoms = labelled_atoms()
    atoms.positions[0] += 0.1
    with pytest.raises(GroundstateError, match="E-LABEL-STALE"):
        record_from_ase(atoms)


def test_partial_occupancy_of_an_ase_object() -> None:
    atoms = labelled_atoms()
    atoms.info["occupancy"] = {"0": {"O": 0.5, "S": 0.5}}
    with pytest.raises(GroundstateError, match=r"E-DISORDER.*site 0"):
        record_from_ase(atoms)


def test_poscar_without_species(tmp_path: Path) -> None:
    error = refused(tmp_path, "Mg O\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n", "POSCAR")
    assert error.code == "E-POSCAR-SPECIES"


@pytest.mark.parametrize("name", ["a.traj", "a.db", "a.json", "a.cif", "vasprun.xml", "OUTCAR", "POSCAR", "XDATCAR"])
def test_rubbish_in_every_format(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, "rubbish {\n" * 30, name).code.startswith(("E-FILE", "E-POSCAR"))


def test_ase_itself_still_loses_these(tmp_path: Path) -> None:
    """The reasons for a reader of our own; when one of these fails, ASE has learned it."""
    (tmp_path / "a.xyz").write_text(WATER.replace("energy=-14.25", "energy=-1.0D+02 Energy=-14.25"))
    atoms = ase_read(tmp_path / "a.xyz", format="extxyz")
    assert atoms.calc.results["energy"] == "-1.0D+02"
    assert np.isclose(atoms.info["Energy"], -14.25)


def test_a_frame_without_atoms(tmp_path: Path) -> None:
    error = refused(tmp_path, WATER + "0\n\n")
    assert (error.code, error.frame) == ("E-EMPTY", 1)
