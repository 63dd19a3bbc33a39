"""`groundstate data check` on files: what it prints, leaves and returns."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import Run
from groundstate.api import check_data
from groundstate.data import Record, write
from labelled_crystals import labelled, rattled, relabelled


@pytest.fixture
def clean(tmp_path: Path) -> list[Record]:
    """Frames without fault, written to `clean.extxyz`."""
    records = [replace(r, provenance=type(r.provenance)()) for r in labelled(rattled(12, seed=51, amplitude=0.02))]
    write(tmp_path / "clean.extxyz", records)
    return records


def test_a_clean_file(clean: list[Record], tmp_path: Path, run: Run) -> None:
    code, out, err = run("data", "check", tmp_path / "clean.extxyz")
    assert code == 0
    assert "nothing found" in out
    assert "2 checks could not look" in out  # no other set, and one cell throughout
    assert "error" not in err


def test_what_is_left_for_people_and_programs(clean: list[Record], tmp_path: Path, run: Run) -> None:
    spoilt = relabelled(clean[:1], "forces", lambda _, f: f * 60 / f.norm(dim=1).max()) + clean[1:]
    write(tmp_path / "spoilt.extxyz", spoilt)
    folder = tmp_path / "checked"
    options = ("--against", tmp_path / "clean.extxyz", "--report", folder)
    code, out, err = run("data", "check", tmp_path / "spoilt.extxyz", *options)
    assert code == 4
    assert "error: L-LEAK" in err
    page, twin = (folder / "data_check.html").read_text(), json.loads((folder / "data_check.json").read_text())
    assert "L-FORCE-LARGE" in page
    assert "spoilt.extxyz:0" in page
    assert {"heading", "table", "figure", "facts"} <= {section["kind"] for section in twin["sections"]}
    assert (folder / "exclude.txt").read_text().splitlines()[1:] == [f"0\t{tmp_path / 'spoilt.extxyz'}"]
    code, out, _ = run("data", "check", tmp_path / "spoilt.extxyz", *options)
    assert code == 7  # the report exists

    code, out, _ = run("data", "check", tmp_path / "spoilt.extxyz", "--json")
    record = json.loads(out)
    assert record["excluded"] == [f"{tmp_path / 'spoilt.extxyz'}:0"]
    assert {check["verdict"] for check in record["checks"]} >= {"pass", "warning", "not checked"}
    (energies,) = record["references"].values()
    assert energies["rmse_after_eV_per_atom"] < energies["rmse_before_eV_per_atom"]


def test_what_reading_refuses_is_a_finding(clean: list[Record], tmp_path: Path) -> None:
    text = (tmp_path / "clean.extxyz").read_text()
    close = "2\nProperties=species:S:1:pos:R:3 energy=1.0\nCu 0 0 0\nCu 0 0 0.4\n"
    (tmp_path / "more.extxyz").write_text(text + close)
    examination = check_data(tmp_path / "more.extxyz").examination
    (finding,) = [finding for finding in examination.findings if finding.code == "E-ATOMS-CLOSE"]
    assert "frames 12" in finding.what
    assert len(examination.records) == 12


def test_free_energies_are_read_beside_the_energies(clean: list[Record], tmp_path: Path) -> None:
    text = (tmp_path / "clean.extxyz").read_text()
    entropy = re.sub(r"REF_energy=(\S+)", lambda m: f"{m[0]} free_energy={float(m[1]) - 0.32:.6f}", text)
    (tmp_path / "free.extxyz").write_text(entropy)
    (finding,) = check_data(tmp_path / "free.extxyz").examination.findings
    assert (finding.code, finding.severity) == ("L-ENERGY-FREE", "note")
    assert finding.numbers["median_eV_per_atom"] == pytest.approx(-0.01, abs=1e-6)
