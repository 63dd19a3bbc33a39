"""Real files: public sets where GROUNDSTATE_DATA names a folder with them, VASP outputs from ASE's own test data."""

import os
from importlib.resources import files
from pathlib import Path

import pytest

from groundstate.atoms import GroundstateError
from groundstate.data import fit_reference_energies, iterate, read

DATA = os.environ.get("GROUNDSTATE_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="GROUNDSTATE_DATA names no folder with public data sets")


@needs_data
@pytest.mark.parametrize(
    ("name", "frames", "quantities", "energy"),
    [
        ("acac/train_300K.xyz", 500, ["energy", "forces"], (-626.2, -626.0)),
        ("acac/isolated_atoms.xyz", 3, ["energy"], (-2037.9, -13.5)),
        ("mlearn/Si_test.xyz", 25, ["energy", "forces", "stress"], (-5.5, -4.0)),
        ("own_dft/mgo_pbe/mgo8_pbe.extxyz", 53, ["energy", "forces", "stress"], (-6.2, -5.2)),
    ],
)
def test_public_sets(name: str, frames: int, quantities: list[str], energy: tuple[float, float]) -> None:
    report = read(Path(str(DATA)) / name).report
    assert report.total == frames
    assert [row.quantity for row in report.rows] == quantities
    assert all(row.frames == frames for row in report.rows)
    assert energy[0] < report.rows[0].minimum <= report.rows[0].maximum < energy[1]
    assert list(report.rows[0].keys) == ["energy"]


@needs_data
def test_report_and_references_of_materials_project_frames() -> None:
    data = read(Path(str(DATA)) / "mptrj_sample/mptrj-random-1k.xyz", require=["energy", "forces", "stress"])
    assert [(row.quantity, row.frames, row.total) for row in data.report.rows] == [
        ("energy", 1000, 1000),
        ("forces", 1000, 1000),
        ("stress", 1000, 1000),
    ]
    assert -12.5 < data.report.rows[0].minimum <= data.report.rows[0].maximum < -0.8
    fit = fit_reference_energies(data.records)
    assert fit.rmse_after < 0.7 < 5 < fit.rmse_before
    assert fit.rank <= fit.n_elements == len(fit.energies)


@needs_data
def test_stress_of_another_program_is_not_taken_for_ours() -> None:
    path = Path(str(DATA)) / "magnetic_Fe/magnetic_Fe.xyz.xz"
    key = "stress_raw_kB_VASPsign"
    plain = next(iterate(path))
    assert "stress" not in plain.labels
    converted = next(iterate(path, keys={"stress": key}, stress_convention="kbar-vasp"))
    assert float(converted.labels["stress"][0, 0]) == pytest.approx(-142.24203 * 6.241509e-4, rel=1e-6)


VASP = Path(str(files("ase") / "test" / "testdata" / "vasp"))
needs_vasp = pytest.mark.skipif(not VASP.is_dir(), reason="ASE is installed without its test data")


@needs_vasp
def test_vasp_outputs() -> None:
    for name in ("OUTCAR_example_1", "vasprun_pstress.xml"):
        data = read(VASP / name)
        assert {"energy", "forces", "stress"} <= {row.quantity for row in data.report.rows}, name
        assert all(row.keys.keys() == {f"calculator.{row.quantity}"} for row in data.report.rows)


@needs_vasp
def test_an_unfinished_vasp_run_is_refused_and_its_steps_can_be_kept(tmp_path: Path) -> None:
    text = (VASP / "OUTCAR_example_1").read_text()
    (tmp_path / "OUTCAR").write_text(text[: text.index("General timing")])
    with pytest.raises(GroundstateError, match="E-FILE-TRUNCATED"):
        read(tmp_path / "OUTCAR")
    assert len(read(tmp_path / "OUTCAR", salvage=True)) >= 1
