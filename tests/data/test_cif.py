"""CIF: symmetry expanded as ASE does where the file is whole, refused where it is not."""

from pathlib import Path

import numpy as np
import pytest
from ase.io import read as ase_read

from groundstate.atoms import GroundstateError
from groundstate.data import Dataset, read

CELL = """data_{name}
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
"""
SITES = """loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""
MGO = "Mg1 Mg2+ 0 0 0 1.0\nO1 O2- 0.5 0.5 0.5 1.0\n"


def cif(sites: str = MGO, *, group: str = "_space_group_IT_number 225", name: str = "MgO", extra: str = "") -> str:
    """A cubic block of 4.2 Å."""
    return CELL.format(name=name, a=4.2) + group + "\n" + extra + SITES + sites


def reading(tmp_path: Path, text: str, **options: bool) -> Dataset:
    """What is read from a CIF of this text."""
    (tmp_path / "a.cif").write_text(text)
    return read(tmp_path / "a.cif", **options)  # type: ignore[arg-type]


def test_symmetry_is_expanded_and_oxidation_states_are_noted(tmp_path: Path) -> None:
    data = reading(tmp_path, cif())
    (record,) = data.records
    assert sorted(record.system.numbers.tolist()) == [8] * 4 + [12] * 4
    assert record.provenance.tags["cif_block"] == "MgO"
    assert "'Mg2+' read as Mg" in data.report.as_text()


@pytest.mark.parametrize(
    ("group", "cell", "oxygen"),
    [
        (221, (4.0, 4.0, 4.0, 90, 90, 90), (0.5, 0.5, 0.0)),
        (194, (3.2, 3.2, 5.2, 90, 90, 120), (0.3333, 0.6667, 0.25)),
        (167, (4.8, 4.8, 13.0, 90, 90, 120), (0.3063, 0.0, 0.25)),
        (62, (5.5, 7.8, 5.6, 90, 90, 90), (0.21, 0.04, 0.31)),
        (14, (5.5, 7.8, 5.6, 90, 103, 90), (0.21, 0.14, 0.31)),
        (2, (5.5, 7.8, 5.6, 80, 103, 95), (0.21, 0.14, 0.31)),
    ],
)
def test_same_atoms_as_ase(
    tmp_path: Path, group: int, cell: tuple[float, ...], oxygen: tuple[float, float, float]
) -> None:
    keys = [
        f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    ]
    lines = [f"{key} {value}" for key, value in zip(keys, cell, strict=True)]
    header = "data_x\n" + "\n".join([*lines, f"_space_group_IT_number {group}"]) + "\n"
    sites = f"Sr1 Sr 0 0 0 1\nO1 O {' '.join(map(str, oxygen))} 1\n"
    (record,) = reading(tmp_path, header + SITES + sites).records
    expected = ase_read(tmp_path / "a.cif")
    fractional = np.linalg.solve(expected.cell.T, record.system.positions.numpy().T).T
    apart = fractional[:, None] - expected.get_scaled_positions()[None]
    apart -= np.round(apart)
    assert len(expected) == record.n_atoms > 2
    assert np.linalg.norm(apart @ expected.cell.array, axis=2).min(axis=1).max() < 1e-3


def test_every_block_is_a_frame(tmp_path: Path) -> None:
    data = reading(tmp_path, cif() + "\n" + cif(name="second"))
    assert [record.provenance.tags["cif_block"] for record in data.records] == ["MgO", "second"]


@pytest.mark.parametrize(("x", "n_atoms"), [(0.25, 4), (0.2501, 4), (0.252, 4), (0.33, 16)])
def test_rounded_special_positions_make_one_atom(tmp_path: Path, x: float, n_atoms: int) -> None:
    text = cif(f"Si1 Si {x} {x} {x} 1.0\n", group="_space_group_IT_number 216").replace("4.2", "5.4")
    assert reading(tmp_path, text).records[0].n_atoms == n_atoms


def test_sites_that_symmetry_joins_are_merged_and_counted(tmp_path: Path) -> None:
    data = reading(tmp_path, cif(MGO + "O2 O2- 0.5 0 0 1.0\n"))
    assert data.records[0].n_atoms == 8
    assert "merged into one" in data.report.as_text()


def test_deuterium_is_heavy_hydrogen(tmp_path: Path) -> None:
    data = reading(tmp_path, cif("Li1 Li 0 0 0 1\nD1 D 0.5 0.5 0.5 1\n"))
    assert "D read as H" in data.report.as_text()
    assert float(data.records[0].system.masses.min()) == 2.01410177812


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (cif(MGO.replace("0 0 0 1.0", "0 0 0 0.9")), "E-DISORDER", "Mg1 occupancy 0.9"),
        (cif(MGO.replace("0 0 0 1.0", "0 0 0 1.2")), "E-DISORDER", "Mg1 occupancy 1.2"),
        (cif(MGO + "Fe1 Fe2+ 0 0 0 1.0\n"), "E-DISORDER", "Mg1 and Fe1 on one position"),
        (cif(MGO.replace("0.5 0.5 0.5", "? ? ?")), "E-CIF-COORDINATES", "O1"),
        (cif(extra="_chemical_formula_sum 'Mg1 O2'\n"), "E-CIF-FORMULA", "Mg1 O2"),
        (cif(extra="_chemical_formula_sum 'Mg1 O1 H2'\n"), "E-CIF-FORMULA", "hydrogen"),
        (cif(group=""), "E-CIF-SYMMETRY", "names no space group"),
        (cif(group="_space_group_IT_number 227"), "E-CIF-SYMMETRY", "two origins"),
        (cif(group="_space_group_IT_number 194"), "E-CIF-SYMMETRY", "do not map"),
        (cif(MGO.replace("1.0\nO1", "\nO1")), "E-FILE-SYNTAX", "tokens"),
        (cif().replace("_cell_length_b 4.2\n", ""), "E-CELL-MISSING", "six cell parameters"),
        (cif("Q1 Qq 0 0 0 1.0\n"), "E-ELEMENT-UNKNOWN", "Qq"),
        ("data_empty\n_cell_length_a 4\n", "E-FILE-EMPTY", "no frames"),
    ],
)
def test_refused(tmp_path: Path, text: str, code: str, words: str) -> None:
    with pytest.raises(GroundstateError) as caught:
        reading(tmp_path, text)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_good_blocks_can_be_kept(tmp_path: Path) -> None:
    text = cif(MGO.replace("0 0 0 1.0", "0 0 0 0.9"), name="alloy") + "\n" + cif()
    assert [r.provenance.tags["cif_block"] for r in reading(tmp_path, text, salvage=True).records] == ["MgO"]


def test_formula_that_agrees_is_accepted(tmp_path: Path) -> None:
    assert reading(tmp_path, cif(extra="_chemical_formula_sum 'O1 Mg1'\n")).records[0].n_atoms == 8
