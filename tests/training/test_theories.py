"""One run over two levels of theory: two zeros of energy, two read-outs, one trunk."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import DataError, GroundstateError, LevelOfTheory, System
from groundstate.data import Record
from groundstate.potentials import checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig
from groundstate.training import TrainConfig, train, train_from_scratch
from groundstate.training.scratch import build_at
from groundstate.training.theories import AtLevels, levels_of, references_by_level
from training.specimens import copper

SMALL = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=3.5)
CONFIG = TrainConfig(epochs=5, batch_size=4, weights={"energy": 1.0, "forces": 1.0}, accelerator="cpu")
PBE, SCAN = LevelOfTheory("PBE"), LevelOfTheory("r2SCAN")
ZERO, SOFTER = -700.0, 0.8
"""What the second level calls 0 eV per atom, and how much weaker its bonds are."""


def at_scan(record: Record) -> Record:
    labels = {name: SOFTER * label for name, label in record.labels.items()}
    return replace(record, theory=SCAN, labels={**labels, "energy": labels["energy"] + ZERO * record.n_atoms})


def both(frames: int, seed: int) -> list[Record]:
    """Frames of both levels in turn."""
    records = copper(frames, seed)
    return [at_scan(r) if i % 2 else replace(r, theory=PBE) for i, r in enumerate(records)]


def test_two_levels_are_learned_together(tmp_path: Path) -> None:
    result = train_from_scratch(both(16, 1), both(8, 2), SMALL, CONFIG, tmp_path)
    loaded = checkpoint.load(result.path)
    assert loaded.theories == (PBE, SCAN)
    notes = checkpoint.inspect(result.path)["notes"]["training"]["references"]
    assert notes["r2SCAN"]["energies_eV"]["Cu"] - notes["PBE"]["energies_eV"]["Cu"] == pytest.approx(ZERO, abs=1.0)
    assert {"energy @ PBE", "energy @ r2SCAN", "forces @ PBE", "forces @ r2SCAN"} <= result.after.rows.keys()
    counts = [result.after[f"forces{level}"].count for level in ("", " @ PBE", " @ r2SCAN")]
    assert counts == [96, 48, 48]
    squares = [result.after[f"forces @ {level}"].rmse ** 2 for level in ("PBE", "r2SCAN")]
    assert result.after["forces"].rmse ** 2 == pytest.approx(sum(squares) / 2)
    for level in ("PBE", "r2SCAN"):
        assert result.after[f"energy @ {level}"].rmse < 0.5  # of −700 eV between them
        assert result.after[f"forces @ {level}"].rmse < result.before[f"forces @ {level}"].rmse
    system = copper(1, seed=3)[0].system
    asked = [evaluate(loaded, system.replace(theory=torch.tensor([i])), ("energy", "forces")) for i in (0, 1)]
    assert float(asked[1]["energy"] - asked[0]["energy"]) == pytest.approx(4 * ZERO, abs=4.0)
    assert not torch.allclose(asked[0]["forces"], asked[1]["forces"])


def test_an_element_one_level_never_shows_borrows_its_zero() -> None:
    def nickel(record: Record) -> Record:
        return replace(record, system=record.system.replace(numbers=torch.full_like(record.system.numbers, 28)))

    records = [*both(8, 1), *(nickel(r) for r in both(8, 4) if r.theory == PBE)]
    found = references_by_level(records, records, (PBE, SCAN), 3.5)
    assert found[0].borrowed == ()
    assert found[1].borrowed == (28,)
    assert found[1].energies[28] == found[0].energies[28]
    assert found[1].energies[29] == pytest.approx(ZERO, abs=1.0)
    assert found[1].as_dict()["borrowed"] == ["Ni"]


def test_isolated_atoms_belong_to_their_level() -> None:
    atom = Record(System.single([[0.0, 0, 0]], [29]), {"energy": torch.tensor(0.5).double()}, theory=PBE)
    bonded = both(8, 1)
    pbe, scan = references_by_level(bonded, [*bonded, atom], (PBE, SCAN), 3.5)
    assert pbe.energies == {29: 0.5}
    assert "rank 1 of 1" in scan.note


def test_one_level_needs_no_index() -> None:
    assert levels_of([replace(record, theory=PBE) for record in copper(2, 1)] + copper(1, 2)) == (PBE,)
    assert levels_of(copper(2, 1)) == ()


def test_unnamed_frames_among_several_levels_are_refused() -> None:
    with pytest.raises(DataError, match=r"E-THEORY-UNSTATED.*1 of 5 frames"):
        levels_of([*both(4, 1), *copper(1, 2)])


def test_a_level_that_was_not_trained_is_refused() -> None:
    stranger = replace(copper(1, 5)[0], theory=LevelOfTheory("LDA"))
    with pytest.raises(DataError, match=r"E-THEORY-UNTRAINED.*LDA"):
        list(AtLevels([stranger], (PBE, SCAN)))


def test_labels_of_one_level_under_the_head_of_another_are_refused(tmp_path: Path) -> None:
    records, valid = AtLevels(both(8, 1), (SCAN, PBE)), AtLevels(both(4, 2), (SCAN, PBE))
    model = build_at(records, SMALL, [{29: 0.0}, {29: ZERO}], (PBE, SCAN), 0)
    with pytest.raises(GroundstateError, match=r"E-THEORY-HEAD.*labels are PBE and it asks for read-out 1"):
        train(model, records, valid, CONFIG, tmp_path)
