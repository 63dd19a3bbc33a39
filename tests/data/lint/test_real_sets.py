"""Sets of others and our own: no false alarm, and the faults that are in them."""

import os
from pathlib import Path

import pytest

from groundstate.data import read
from groundstate.data.lint import examine

DATA = Path(os.environ.get("GROUNDSTATE_DATA", "not given"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="GROUNDSTATE_DATA names no folder with public data")


def codes(name: str, against: str = "") -> set[str]:
    """Codes of the findings of a file that are not mere notes."""
    other = read(DATA / against).records if against else ()
    findings = examine(read(DATA / name, missing="mask").records, other).findings
    return {finding.code for finding in findings if finding.severity != "note"}


@needs_data
def test_our_own_labels_of_mgo() -> None:
    assert codes("own_dft/mgo_pbe/mgo8_pbe.extxyz") == set()


@needs_data
@pytest.mark.slow
def test_molecules_at_600_k() -> None:
    assert codes("acac/train_600K.xyz", "acac/train_300K.xyz") == set()


@needs_data
@pytest.mark.slow
def test_what_is_wrong_with_published_sets() -> None:
    """Shear of this nickel has yz and xz exchanged, its elastic frames are in its test too; silicon is right."""
    assert codes("mlearn/Si_train.xyz") == set()
    assert {"L-STRESS-ORDER", "L-NEAR-LEAK"} <= codes("mlearn/Ni_train.xyz", "mlearn/Ni_test.xyz")
    assert codes("3bpa/train_mixedT.xyz", "3bpa/train_300K.xyz") == {"L-LEAK"}
