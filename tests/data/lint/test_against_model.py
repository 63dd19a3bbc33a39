"""A model that is only roughly right tells wrong signs, units and orders."""

from collections.abc import Callable

import pytest
import torch

from groundstate.api import check_data
from groundstate.atoms.units import BOHR, HARTREE
from groundstate.data import Record
from labelled_crystals import labelled, rattled, relabelled, shuffled
from toys import lennard_jones

RECORDS = labelled(shuffled(rattled(10, seed=41, amplitude=0.05, strain=0.02)))
ROUGH = lennard_jones(epsilon=0.15, sigma=2.32)


def found(records: list[Record]) -> dict[str, str]:
    """Codes and sentences of the checks against the rough model."""
    examination = check_data(records, model=ROUGH).examination
    checks = [one for one in examination.checks if " against " in one.check and "set" not in one.check]
    assert len(checks) == 2
    return {finding.code: finding.what for one in checks for finding in one.findings}


def test_right_labels_pass() -> None:
    assert found(RECORDS) == {}


@pytest.mark.parametrize(
    ("name", "change", "code", "words"),
    [
        ("forces", lambda _, f: -f, "L-FORCE-SIGN", "opposite sign"),
        ("forces", lambda _, f: f * BOHR / HARTREE, "L-FORCE-SCALE", "Hartree/bohr"),
        ("stress", lambda _, s: -s, "L-STRESS-SIGN", "opposite sign"),
        ("stress", lambda r, s: -s * r.system.volume[0], "L-STRESS-SCALE", "virial"),
        ("stress", lambda _, s: s[[2, 0, 1]][:, [2, 0, 1]], "L-STRESS-ORDER", "another order"),
    ],
)
def test_wrong_labels(name: str, change: Callable[[Record, torch.Tensor], torch.Tensor], code: str, words: str) -> None:
    assert words in found(relabelled(RECORDS, name, change))[code]


def test_single_frames_with_turned_forces() -> None:
    turned = relabelled(RECORDS[3:4], "forces", lambda _, forces: -forces)
    assert "1 frames" in found([*RECORDS[:3], *turned, *RECORDS[4:]])["L-FORCE-SIGN"]
