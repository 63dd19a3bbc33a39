"""Structures that a model remembers travel in its file, cost no identity, and are what fine-tuning replays."""

from pathlib import Path

import pytest
import torch

from groundstate.atoms import System
from groundstate.potentials import Potential, checkpoint
from groundstate.potentials.mace import MACEConfig, build

TINY = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=4.0)


@pytest.fixture
def potential() -> Potential:
    return build(TINY, elements=(1, 8, 12), reference_energies=[{1: 0.0, 8: 0.0, 12: 0.0}]).requires_grad_(False)


def structures() -> System:
    oxide = System.single([[0.1, 0.2, 0.3], [2.1, 2.1, 2.1]], [12, 8], cell=4.2 * torch.eye(3), pbc=True, theory=0)
    water = System.single([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [8, 1, 1], theory=0)
    return System.batch([oxide, water])


def test_they_travel_in_the_file(potential: Potential, tmp_path: Path) -> None:
    plain = checkpoint.save(potential, tmp_path / "plain.safetensors")
    assert checkpoint.load(tmp_path / "plain.safetensors").remembered is None
    potential.remembered = structures()
    assert checkpoint.save(potential, tmp_path / "model.safetensors") == plain, "no prediction depends on them"
    known = checkpoint.load(tmp_path / "model.safetensors").remembered
    assert known is not None
    for name in ("numbers", "system_ptr", "pbc", "theory", "masses"):
        torch.testing.assert_close(getattr(known, name), getattr(structures(), name), rtol=0, atol=0)
    torch.testing.assert_close(known.positions, structures().positions, rtol=1e-6, atol=0)
    assert (known.positions.dtype, known.numbers.dtype) == (torch.float64, torch.int64)
    assert known.charge is None
