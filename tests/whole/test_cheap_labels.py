"""Cheap labels for a molecule, as the recipe of acetylacetone draws them."""

import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write

from groundstate.data import read

SAMPLE = Path(__file__).parents[2] / "recipes" / "acac_xtb" / "sample.py"


def test_trajectories_are_labelled_and_go_on(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    write(tmp_path / "water.xyz", [molecule("H2O")])
    command = [sys.executable, SAMPLE, tmp_path / "water.xyz", "--output", tmp_path / "labels.extxyz", "--frames"]
    subprocess.run([*command, "36"], check=True, capture_output=True, timeout=300)
    first = (tmp_path / "labels.extxyz").read_text()
    subprocess.run([*command, "72"], check=True, capture_output=True, timeout=300)
    assert (tmp_path / "labels.extxyz").read_text().startswith(first)
    records = read(tmp_path / "labels.extxyz").records
    assert len(records) == 72
    assert {"energy", "forces"} <= records[0].labels.keys()
    energies = [float(record.labels["energy"]) for record in records]
    assert -138.3 < min(energies) < max(energies) < -136.0  # GFN2-xTB at its minimum: −5.07 Ha
    assert max(float(record.labels["forces"].abs().max()) for record in records) > 0.5
