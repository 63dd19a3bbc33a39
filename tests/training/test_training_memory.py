"""The memory of a run is told before it starts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import RunError
from groundstate.potentials.mace import MACEConfig, build
from groundstate.simulation.memory import Cost
from groundstate.training import FitLabels, TrainConfig, memory, train
from toys import lennard_jones
from training.specimens import copper

CONFIG = TrainConfig(epochs=1, batch_size=4, weights={"energy": 1.0, "forces": 1.0, "stress": 1.0}, accelerator="cpu")
CPU = torch.device("cpu")


def test_the_largest_batch_a_shuffle_can_make() -> None:
    records = copper(6, seed=1)
    assert memory.largest_batch(records, CONFIG) == 16
    assert memory.largest_batch(records, replace(CONFIG, batch_size=50)) == 24
    assert memory.largest_batch(records, replace(CONFIG, max_atoms=9)) == 9
    assert memory.largest_batch(records, replace(CONFIG, max_atoms=2)) == 4


def test_a_batch_that_will_not_fit_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With little memory the step is probed; the refusal names what fits, and that much is accepted."""
    model = build(
        MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=3.5),
        elements=(29,),
        reference_energies=[{29: -1.0}],
        seed=0,
    )
    steps: list[int] = []
    records, aim = copper(8, seed=1), FitLabels(CONFIG.weights)

    def probed(work: object, system: object, cutoff: float) -> Cost:
        work(system[0])  # type: ignore[operator,index]
        steps.append(1)
        return Cost(per_atom=1e6, per_edge=0.0, edges_per_atom=0)

    monkeypatch.setattr(memory, "available", lambda device: 20_000_000)
    monkeypatch.setattr(memory, "cost_of", probed)
    with pytest.raises(RunError, match=r"E-MEMORY-FORECAST.*16 atoms.*for 14.*max_atoms to at most 14"):
        train(model, records, copper(2, seed=2), CONFIG, tmp_path / "run", aim=aim)
    assert steps == [1]
    assert all(parameter.grad is None for parameter in model.parameters())
    told = memory.refuse_too_large(model, aim, records, replace(CONFIG, max_atoms=14), CPU)
    assert told == "largest batch: 14 atoms of 1 MB each; 0.02 GB available"


def test_nothing_is_probed_where_memory_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 10**12)
    monkeypatch.setattr(memory, "cost_of", lambda *rest: pytest.fail("probed"))
    aim, records = FitLabels(CONFIG.weights), copper(8, seed=1)
    told = memory.refuse_too_large(lennard_jones(), aim, records, CONFIG, CPU)
    assert "enough whatever the model" in told
