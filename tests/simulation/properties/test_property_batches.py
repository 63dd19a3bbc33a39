"""Packed evaluation: equal to one by one, duplicates once, refusals kept to their structure, resumption by content."""

from pathlib import Path

import pytest
import torch

from groundstate.atoms import GroundstateError
from groundstate.potentials import evaluate
from groundstate.simulation.evaluation import alike
from groundstate.simulation.outputs import identity, run_folder
from groundstate.simulation.progress import Progress
from groundstate.simulation.properties import batches
from groundstate.simulation.properties.batches import evaluate_all
from toys import fcc, lennard_jones

POTENTIAL = lennard_jones(cutoff=4.5)
CRYSTALS = [fcc(lattice_constant=a) for a in (3.5, 3.6, 3.7)]


def test_packed_equals_one_by_one() -> None:
    found = evaluate_all(POTENTIAL, CRYSTALS, ("energy", "forces", "strain_gradient"), max_atoms=8)
    for crystal, row in zip(CRYSTALS, found, strict=True):
        assert not isinstance(row, GroundstateError)
        alone = evaluate(POTENTIAL, crystal, ("energy", "forces", "strain_gradient"))
        assert float(row["energy"]) == pytest.approx(float(alone["energy"]), abs=1e-12)
        assert torch.allclose(row["forces"], alone["forces"], atol=1e-12)
        assert torch.allclose(row["strain_gradient"], alone["strain_gradient"][0], atol=1e-12)


def test_batches_are_of_like_conditions_and_bounded() -> None:
    charged = CRYSTALS[0].replace(charge=torch.zeros(1, dtype=torch.float64))
    structures = [*CRYSTALS, charged, CRYSTALS[0], fcc(repeats=2)]
    assert alike(range(6), structures, 8) == [[0, 1], [2], [3], [4], [5]]


def test_a_structure_that_is_refused_harms_no_other() -> None:
    broken = CRYSTALS[1].replace(positions=CRYSTALS[1].positions * 0.0)
    first, second, third = evaluate_all(POTENTIAL, [CRYSTALS[0], broken, CRYSTALS[2]])
    assert isinstance(second, GroundstateError)
    assert not isinstance(first, GroundstateError)
    assert not isinstance(third, GroundstateError)


def test_finished_forces_are_kept_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = identity("test", POTENTIAL.fingerprint(), {})
    seen: list[Progress] = []
    with run_folder(tmp_path / "run", asked) as run:
        evaluate_all(POTENTIAL, CRYSTALS[:2], run=run)
    with run_folder(tmp_path / "run", asked) as run:
        found = evaluate_all(POTENTIAL, [*CRYSTALS, CRYSTALS[0]], run=run, progress=seen.append)
    assert [(p.done, p.total) for p in seen] == [(2, 3), (3, 3)]
    monkeypatch.setattr(batches, "_together", lambda *_: pytest.fail("computed again"))
    with run_folder(tmp_path / "run", asked) as run:
        again = evaluate_all(POTENTIAL, [*CRYSTALS, CRYSTALS[0]], run=run)
    for one, other in zip(found, again, strict=True):
        assert not isinstance(one, GroundstateError)
        assert not isinstance(other, GroundstateError)
        assert torch.equal(one["forces"], other["forces"])
        assert torch.equal(one["energy"], other["energy"])
