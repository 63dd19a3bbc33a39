"""Structures for replay are sane, new, and mixed as asked."""

from pathlib import Path

import pytest
import torch

from groundstate.atoms import DataError, System, judge
from groundstate.data import Record, composition, fingerprint
from groundstate.potentials import Potential, evaluate
from groundstate.potentials.mace import MACEConfig, build
from groundstate.training import FinetuneConfig, TrainConfig
from groundstate.training.base_labels import BaseLabels, shifted
from groundstate.training.replay import made_structures, mixture, prepare, stretched
from training.specimens import copper

ELEMENTS = (8, 12, 17, 22, 29, 56)


def base() -> Potential:
    shape = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=4.0)
    return build(shape, elements=ELEMENTS, reference_energies=[dict.fromkeys(ELEMENTS, 0.0)]).requires_grad_(False)


def test_made_structures() -> None:
    records = copper(3, seed=1)
    systems = made_structures(base(), records, 40, seed=5)
    assert len(systems) == 40
    assert all(not judge(system, base().domain)[0].problems for system in systems)
    assert "Cu" not in {composition(system) for system in systems}, "labels are right there, not the base"
    assert {z for system in systems for z in system.numbers.tolist()} == set(ELEMENTS)
    with_copper = sum(29 in system.numbers.tolist() for system in systems)
    assert with_copper >= 15
    again = made_structures(base(), records, 40, seed=5)
    assert all(torch.equal(a.positions, b.positions) for a, b in zip(systems, again, strict=True))
    assert made_structures(base(), records, 10, seed=5, elements=[29]) == []


def test_of_molecules_come_molecules() -> None:
    water = Record(System.single([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [8, 17, 17]))
    systems = made_structures(base(), [water], 12, seed=1)
    assert len(systems) == 12
    assert not any(bool(system.pbc.any()) for system in systems)
    assert {composition(system) for system in systems}.isdisjoint({"Cl2O"})


def test_labels_are_the_base_s_and_move_with_its_zero(tmp_path: Path) -> None:
    given = base()
    known = BaseLabels(given, tmp_path / "labels.safetensors")
    plan = FinetuneConfig(replay_share=0.5, replay_frames=20)
    replay = prepare(given, copper(3, seed=1), plan, known, {"energy", "stress"}, 0)
    assert len(replay.taught) + len(replay.judged) <= 20
    assert len(replay.judged) == pytest.approx(5, abs=2)
    record = next(r for r in replay.taught if 29 in r.system.numbers.tolist())
    said = evaluate(given, record.system, ("energy", "forces", "stress"))
    torch.testing.assert_close(record.labels["stress"], said["stress"][0].double())
    torch.testing.assert_close(record.labels["forces"], said["forces"].double())
    (moved,) = shifted([record], {29: -7.0}, [0])
    count = record.system.numbers.tolist().count(29)
    torch.testing.assert_close(moved.labels["energy"], said["energy"][0] - 7.0 * count)
    (kept,) = shifted([record], {29: -7.0}, [1])
    torch.testing.assert_close(kept.labels["energy"], said["energy"][0])


def test_given_structures_must_be_usable(tmp_path: Path) -> None:
    given, taught = base(), copper(6, seed=1)
    known = BaseLabels(given, tmp_path / "labels.safetensors")
    plan = FinetuneConfig(replay_share=0.5)
    with pytest.raises(DataError, match="E-REPLAY-EMPTY"):
        prepare(given, taught, plan, known, {"energy"}, 0, given=taught)
    others = copper(10, seed=9)
    replay = prepare(given, taught, plan, known, {"energy", "forces"}, 0, given=others)
    assert len(replay.labelled) == len(replay.judged) == 2
    assert not torch.equal(replay.labelled[0].labels["forces"], replay.judged[0].labels["forces"])


def test_what_the_base_remembers_comes_first(tmp_path: Path) -> None:
    given, others = base(), copper(10, seed=9)
    given.remembered = System.batch([record.system for record in others])
    known = BaseLabels(given, tmp_path / "labels.safetensors")
    replay = prepare(given, copper(6, seed=1), FinetuneConfig(replay_share=0.5), known, {"energy", "forces"}, 0)
    assert replay.source == "remembered: 10 structures"
    used = [record.system for record in replay.taught + replay.judged]
    assert {fingerprint(system) for system in used} == {fingerprint(record.system) for record in others}
    given.remembered = given.remembered.select([0, 1])
    replay = prepare(given, copper(6, seed=1), FinetuneConfig(replay_share=0.5), known, {"energy"}, 0)
    assert replay.source.startswith("made"), "two are too few to judge by"


@pytest.mark.parametrize(("n", "pool", "share"), [(10, 200, 0.5), (50, 200, 0.3), (400, 20, 0.2)])
def test_the_mixture_has_the_share_and_the_options_keep_the_work(n: int, pool: int, share: float) -> None:
    target, replay = copper(1, seed=1) * n, copper(1, seed=2) * pool
    mixed, times = mixture(target, replay, share, 120)
    asked = sum(record is replay[0] for record in mixed) / len(mixed)
    assert asked == pytest.approx(share, abs=0.02)
    config = stretched(TrainConfig(epochs=120, warmup_epochs=2.0, patience=30), times)
    assert config.epochs * times == pytest.approx(120, rel=0.1)
    assert config.warmup_epochs * times == pytest.approx(2.0)
    assert config.patience is not None
    assert config.patience * times >= 30
    assert mixture(target, replay, share, 2)[1] <= 2
