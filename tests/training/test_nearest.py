"""What a training set knows of short distances, and that a trained model is told."""

from pathlib import Path

import torch

from groundstate.atoms import System
from groundstate.data import Record
from groundstate.potentials import checkpoint
from groundstate.potentials.mace import Hold, MACEConfig
from groundstate.potentials.nearest import Nearest
from groundstate.training import TrainConfig, train_from_scratch
from groundstate.training.nearest import nearest_distances
from training.specimens import copper


def test_the_nearest_of_each_pair_and_nothing_of_others() -> None:
    water = System.single([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.2, 0.93, 0.0]], [8, 1, 1])
    stretched = System.single([[0.0, 0.0, 0.0], [1.05, 0.0, 0.0]], [8, 1])
    iron = System.single([[0.0, 0.0, 0.0]], [26], cell=[[2.4, 0.0, 0.0], [0.0, 2.6, 0.0], [0.0, 0.0, 2.6]], pbc=True)
    atom = System.single([[0.0, 0.0, 0.0]], [2])
    found = nearest_distances([Record(system=s, labels={}) for s in (stretched, water, iron, atom)])
    torch.testing.assert_close(found[8, 1], torch.tensor(0.93**2 + 0.04, dtype=torch.float64).sqrt())
    assert torch.equal(found, found.T)
    assert float(found[26, 26]) == 2.4
    assert torch.isinf(found[1, 1])  # hydrogens of water are 1.49 Å apart, more than twice a contact
    assert torch.isinf(found[2, 2])
    assert torch.isinf(found).sum() == 119 * 119 - 3


def test_a_trained_model_knows_how_near_it_was_taught(tmp_path: Path) -> None:
    records = copper(6, seed=1)
    config = TrainConfig(epochs=1, batch_size=3, weights={"energy": 1.0, "forces": 1.0}, accelerator="cpu")
    shape = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=3.5)
    result = train_from_scratch(records, copper(2, seed=2), shape, config, tmp_path)
    hold, begins = (module for module in checkpoint.load(result.path).modules() if isinstance(module, Nearest))
    assert isinstance(hold, Hold)
    nearest = float(nearest_distances(records)[29, 29])
    assert 2.0 < nearest < 3.0
    torch.testing.assert_close(hold.distances(), torch.tensor([[nearest]]))
    assert begins.distances().tolist() == [[nearest]]
