"""Crystals as JSON: MPtrj and MatPES by their published layouts, streamed; their units, signs and energies told."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groundstate.atoms import GroundstateError, System
from groundstate.data import json_files, named_theories, read
from groundstate.data.json_files import top_level

KILOBAR = 1e8 * 1e-30 / 1.602176634e-19
"""eV/Å³, from the SI."""


def structure(shift: float = 0.0) -> dict[str, Any]:
    """Rock salt, two atoms, as pymatgen writes it."""
    cell = [[0.0, 2.1, 2.1], [2.1, 0.0, 2.1], [2.1, 2.1, 0.0]]
    places = [("Fe", [0.0, 0.0, shift]), ("O", [2.1, 2.1, 2.1])]
    sites = [{"species": [{"element": e, "occu": 1}], "xyz": xyz, "label": e} for e, xyz in places]
    return {"@module": "pymatgen.core.structure", "charge": 0, "lattice": {"matrix": cell}, "sites": sites}


def mptrj_frame(shift: float) -> dict[str, Any]:
    """One frame of MPtrj_2022.9_full.json."""
    return {
        "structure": structure(shift),
        "uncorrected_total_energy": -13.5 - shift,
        "corrected_total_energy": -16.4 - shift,
        "energy_per_atom": -8.2,
        "ef_per_atom": -1.4,
        "force": [[0.0, 0.0, -0.2], [0.0, 0.0, 0.2]],
        "stress": [[-10.0, 1.0, 2.0], [1.0, -20.0, 3.0], [2.0, 3.0, -30.0]],
        "magmom": [3.7, 0.1] if shift == 0 else None,
        "bandgap": 0.0,
        "mp_id": "mp-18905",
    }


@pytest.fixture
def mptrj(tmp_path: Path) -> Path:
    """Two materials, three frames."""
    path = tmp_path / "MPtrj.json"
    frames = [{f"mp-18905-0-{i}": mptrj_frame(0.01 * i) for i in range(2)}, {"mp-2-0-0": mptrj_frame(0.05)}]
    path.write_text(json.dumps({"mp-18905": frames[0], "mp-2": frames[1]}))
    return path


def test_mptrj_energy_is_the_computed_one_and_said(mptrj: Path) -> None:
    data = read(mptrj, theory=named_theories()["mp"])
    assert [float(record.labels["energy"]) for record in data.records] == [-13.5, -13.51, -13.55]
    assert data.records[0].provenance.keys["energy"] == "uncorrected_total_energy"
    assert "without the Materials Project's corrections" in data.report.as_text()
    assert [record.provenance.tags["frame_id"] for record in data.records] == [
        "mp-18905-0-0",
        "mp-18905-0-1",
        "mp-2-0-0",
    ]
    theory = data.records[0].theory
    assert theory is not None
    assert theory.hubbard_u == (("Fe", 5.3),)


def test_mptrj_corrected_energy_only_by_name(mptrj: Path) -> None:
    data = read(mptrj, keys={"energy": "corrected_total_energy"})
    assert float(data.records[0].labels["energy"]) == -16.4
    assert "with the Materials Project's 2020 corrections" in data.report.as_text()


def test_mptrj_stress_is_kbar_with_the_sign_of_vasp(mptrj: Path) -> None:
    """VASP prints compression as positive: −10 kbar along x is a crystal under tension."""
    labels = read(mptrj).records[0].labels
    expected = KILOBAR * np.array([[10.0, -1.0, -2.0], [-1.0, 20.0, -3.0], [-2.0, -3.0, 30.0]])
    np.testing.assert_allclose(labels["stress"].numpy(), expected, rtol=1e-12)
    assert labels["forces"].tolist() == [[0.0, 0.0, -0.2], [0.0, 0.0, 0.2]]


def test_mptrj_moments_that_are_null_are_absent(mptrj: Path) -> None:
    first, second, _ = read(mptrj).records
    assert first.labels["magnetic_moments"].tolist() == [3.7, 0.1]
    assert "magnetic_moments" not in second.labels


def test_a_convention_on_top_of_the_format_is_refused(mptrj: Path) -> None:
    with pytest.raises(GroundstateError, match=r"E-STRESS-CONVENTION.*converted twice"):
        read(mptrj, stress_convention="kbar-vasp")


def matpes_entry(shift: float) -> dict[str, Any]:
    """One entry of MatPES-R2SCAN-2025.1.json.gz."""
    return {
        "nsites": 2,
        "structure": structure(shift),
        "energy": -21.25,
        "forces": [[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]],
        "stress": [10.0, 20.0, 30.0, 4.0, 5.0, 6.0],
        "matpes_id": f"matpes-1_{shift}",
        "functional": "r2SCAN",
        "bandgap": None,
        "cohesive_energy_per_atom": -4.5,
        "bader_charges": [7.0, 7.0],
        "provenance": {"original_mp_id": "mp-18905", "md_step": 12},
    }


def test_matpes(tmp_path: Path) -> None:
    path = tmp_path / "MatPES.json.gz"
    path.write_bytes(gzip.compress(json.dumps([matpes_entry(0.0), matpes_entry(0.1)]).encode()))
    data = read(path, theory={"r2SCAN": named_theories()["matpes-r2scan"]})  # type: ignore[dict-item]
    record = data.records[0]
    assert float(record.labels["energy"]) == -21.25
    voigt = -KILOBAR * np.array([[10.0, 6.0, 5.0], [6.0, 20.0, 4.0], [5.0, 4.0, 30.0]])
    np.testing.assert_allclose(record.labels["stress"].numpy(), voigt, rtol=1e-12)
    assert "charges" not in record.labels
    assert record.provenance.tags["original_mp_id"] == "mp-18905"
    assert record.theory is not None
    assert record.theory.functional == "r2SCAN"


@pytest.mark.parametrize("value", [[1, [2, "a]b"], {"k": None}], [], {"a": 1.5, "b": {"c": [12345.678]}}, [12, 345]])
@pytest.mark.parametrize("window", [1, 1 << 20])
def test_streaming_equals_reading_whole(value: Any, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "_CHUNK", window)
    found = list(top_level(io.TextIOWrapper(io.BytesIO(json.dumps(value, indent=1).encode()))))
    assert (dict(found) if isinstance(value, dict) else [part for _, part in found]) == value


def test_a_cut_file_gives_its_frames_and_then_its_refusal(mptrj: Path) -> None:
    whole = mptrj.read_text()
    mptrj.write_text(whole[: whole.index('"mp-2"') + 40])
    with pytest.raises(GroundstateError, match="E-FILE-SYNTAX"):
        read(mptrj)
    assert len(read(mptrj, salvage=True)) == 2


def test_one_structure_and_a_list_stay_what_they_were(tmp_path: Path) -> None:
    for content in (structure(), [structure()], {"structure": structure(), "energy": -1.0}):
        (tmp_path / "a.json").write_text(json.dumps(content))
        (record,) = read(tmp_path / "a.json").records
        assert isinstance(record.system, System)
        assert torch.equal(record.system.numbers, torch.tensor([26, 8]))
