"""Pictures of a run: that they are drawn, and of what."""

from dataclasses import replace

import pytest
import torch

from groundstate.training.error_table import errors_by_record, panels_of
from groundstate.training.pictures import learning_curve, parity
from toys import lennard_jones
from training.specimens import CUTOFF, copper

PNG = b"\x89PNG"


def test_parity_shows_labels_and_predictions_per_atom() -> None:
    potential, frames = lennard_jones(cutoff=CUTOFF), copper(2, seed=3)
    off = [replace(r, labels={**r.labels, "energy": r.labels["energy"] + 2.0}) for r in frames]
    panels = panels_of(errors_by_record(potential, off), off)
    reference, predicted = panels["energy (eV/atom)"]
    assert reference.tolist() == pytest.approx([float(r.labels["energy"]) / 4 for r in off])
    assert (reference - predicted).tolist() == pytest.approx([0.5, 0.5])
    assert panels["forces (eV/Å)"][0].shape == (24,)


def test_pictures_are_drawn_of_what_there_is() -> None:
    lines = [{"epoch": i, "train_loss": 1 / i, "valid_loss": 2 / i, "valid_forces_rmse": 0.0} for i in (1, 2)]
    assert learning_curve(lines).startswith(PNG)
    assert parity({"energy (eV/atom)": (torch.ones(1), torch.ones(1))}).startswith(PNG)
