"""A base model that is nearly right becomes right, and nothing of the base is touched."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import OptionError, System
from groundstate.data import Record
from groundstate.potentials import Potential, Sum, checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig
from groundstate.training import FinetuneConfig, TrainConfig, finetune, train_from_scratch
from toys import lennard_jones
from training.specimens import CUTOFF, copper

SMALL = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=4.5)
CONFIG = TrainConfig(
    epochs=6,
    batch_size=4,
    weights={"energy": 1.0, "forces": 1.0, "stress": 10.0},
    learning_rate=0.02,
    accelerator="cpu",
)


def elsewhere(records: list[Record]) -> list[Record]:
    """The same structures with another zero of energy."""
    return [replace(r, labels={**r.labels, "energy": r.labels["energy"] - 7.0 * r.n_atoms}) for r in records]


def counting(potential: Potential) -> list[System]:
    calls: list[System] = []
    potential.register_forward_pre_hook(lambda module, given: calls.append(given[0]))
    return calls


def test_a_correction_on_a_foreign_base(tmp_path: Path) -> None:
    base = lennard_jones(epsilon=0.17, cutoff=CUTOFF)
    identity, calls = base.fingerprint(), counting(base)
    data = elsewhere(copper(8, seed=1)), elsewhere(copper(4, seed=2))
    result = finetune(base, *data, CONFIG, tmp_path, model=SMALL, certify=False)
    assert isinstance(result.potential, Sum)
    assert base.fingerprint() == identity
    assert result.before["energy"].rmse > 6.0
    for name in ("energy", "energy_no_offset", "forces"):
        assert result.after[name].rmse < result.before[name].rmse
    loaded = checkpoint.load(result.path, {"toy-pair": lambda d: lennard_jones(epsilon=0.17, cutoff=CUTOFF)})
    record = data[1][0]
    found = evaluate(loaded, record.system, ("energy",))["energy"]
    assert float(found) == pytest.approx(float(record.labels["energy"]), abs=4 * 4 * result.after["energy"].rmse)
    notes = checkpoint.inspect(result.path)["notes"]["training"]
    assert notes["reference_shift"]["energies_eV"]["Cu"] == pytest.approx(-7.0, abs=0.5)
    assert notes["base"] == identity
    # Asked again, the finished run needs the base only for the comparison: 4 validation frames in one batch.
    calls.clear()
    finetune(base, *data, CONFIG, tmp_path, model=SMALL, certify=False)
    assert [system.n_systems for system in calls] == [4]


def test_a_correction_keeps_its_base_on_other_elements(tmp_path: Path) -> None:
    """Replay teaches the correction to be nothing where the base was right, and to know those elements at all."""
    base = lennard_jones(epsilon=0.17, cutoff=CUTOFF)
    nickel = [
        Record(r.system.replace(numbers=torch.full_like(r.system.numbers, 28))) for r in copper(20, seed=5, labels=())
    ]
    sets = elsewhere(copper(8, seed=1)), elsewhere(copper(4, seed=2))
    plan = FinetuneConfig(replay_share=0.5)
    result = finetune(base, *sets, CONFIG, tmp_path / "a", plan=plan, replay=nickel, model=SMALL, certify=False)
    assert result.potential.domain.elements == frozenset({28, 29})
    shift = checkpoint.inspect(result.path)["notes"]["training"]["reference_shift"]["energies_eV"]
    assert set(shift) == {"Cu"}, "another element's zero stays"
    probe = sets[1][0].system
    change = [
        evaluate(result.potential, system)["forces"] - evaluate(base, system)["forces"]
        for system in (probe, probe.replace(numbers=torch.full_like(probe.numbers, 28)))
    ]
    assert change[1].norm() < 0.3 * change[0].norm()
    with pytest.raises(OptionError, match="E-FINETUNE-METHOD"):
        finetune(base, *sets, CONFIG, tmp_path / "c", plan=FinetuneConfig(method="lora"), model=SMALL)


def test_our_own_model_continues(tmp_path: Path) -> None:
    first = train_from_scratch(copper(8, seed=1), copper(4, seed=2), SMALL, CONFIG, tmp_path / "first")
    base = checkpoint.load(first.path)
    identity = base.fingerprint()
    moved = elsewhere(copper(8, seed=3)), elsewhere(copper(4, seed=4))
    result = finetune(base, *moved, CONFIG, tmp_path / "second", certify=False)
    assert base.fingerprint() == identity
    assert result.before["energy"].mean == pytest.approx(7.0, abs=0.5)
    assert result.after["energy"].rmse < 0.5
    assert result.after["forces"].rmse < result.before["forces"].rmse
    again = checkpoint.load(result.path)
    assert again.describe()["kind"] == base.describe()["kind"]
    alone = System.single([[0.0, 0, 0]], [29])
    shift = evaluate(again, alone, ("energy",))["energy"] - evaluate(base, alone, ("energy",))["energy"]
    torch.testing.assert_close(shift, torch.tensor([-7.0]).double(), atol=0.3, rtol=0)
