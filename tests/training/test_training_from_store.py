"""Training reads a store as it reads a list of records, without making a list of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import GroundstateError, LevelOfTheory
from groundstate.data import Record, Store, import_files, write
from groundstate.potentials.mace import MACEConfig
from groundstate.training import FitLabels, TrainConfig, evaluate_errors, finetune, train_from_scratch
from groundstate.training.preflight import refuse_contradictions
from toys import lennard_jones
from training.specimens import copper

pytest.importorskip("pyarrow")

SMALL = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=3.5)
CONFIG = TrainConfig(epochs=2, batch_size=4, weights={"energy": 1.0, "forces": 1.0}, accelerator="cpu")


def stored(folder: Path, records: list[Record]) -> Store:
    """The records written to a file and imported."""
    folder.mkdir()
    write(folder / "records.extxyz", records)
    return import_files([folder / "records.extxyz"], folder / "store", shard_MB=1e-3)


def test_the_same_model_as_from_records(tmp_path: Path) -> None:
    train, valid = copper(8, seed=1), copper(3, seed=2)
    of_records = train_from_scratch(train, valid, SMALL, CONFIG, tmp_path / "records")
    stores = stored(tmp_path / "a", train), stored(tmp_path / "b", valid)
    of_stores = train_from_scratch(*stores, SMALL, CONFIG, tmp_path / "stores")
    assert of_stores.potential.fingerprint() == of_records.potential.fingerprint()
    assert of_stores.after.as_dict() == of_records.after.as_dict()
    errors = evaluate_errors(of_records.potential, valid)
    assert evaluate_errors(of_stores.potential, stores[1]).as_dict() == errors.as_dict()
    # The same call finds its run finished; a changed store is another run.
    assert train_from_scratch(*stores, SMALL, CONFIG, tmp_path / "stores").best == of_stores.best
    with pytest.raises(GroundstateError, match="data"):
        train_from_scratch(stores[0][1:], stores[1], SMALL, CONFIG, tmp_path / "stores")


def test_finetuning(tmp_path: Path) -> None:
    base = lennard_jones(cutoff=4.0)
    stores = stored(tmp_path / "a", copper(6, seed=1)), stored(tmp_path / "b", copper(3, seed=2))
    result = finetune(base, *stores, CONFIG, tmp_path / "run", model=SMALL)
    assert result.after["forces"].count == 3 * 4 * 3


def test_no_list_of_a_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made of a store and is alive at one time stays a few records."""
    store, valid = stored(tmp_path / "a", copper(40, seed=1)), stored(tmp_path / "b", copper(3, seed=2))
    alive = most = 0

    class Counted(Record):
        def __init__(self, *values: object) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            super().__init__(*values)  # type: ignore[arg-type]

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    monkeypatch.setattr("groundstate.data.store.shard.Record", Counted)
    monkeypatch.setattr("groundstate.data.reference_energies.MOST_FITTED", 5)
    config = replace(CONFIG, epochs=1)
    train_from_scratch(store, valid, SMALL, config, tmp_path / "run")
    assert 0 < most < 20


def test_a_hubbard_u_that_the_elements_tell(tmp_path: Path) -> None:
    """The Materials Project's rule makes many levels of one data set; two levels of the same elements stay apart."""
    u, plain, hybrid = LevelOfTheory("PBE", hubbard_u=(("Cu", 4.0),)), LevelOfTheory("PBE"), LevelOfTheory("PBE0")
    copper_u = [replace(record, theory=u) for record in copper(4, seed=1)]
    valid = [replace(record, theory=u) for record in copper(2, seed=2)]
    numbers = torch.full((4,), 28)
    nickel = [replace(r, system=r.system.replace(numbers=numbers), theory=plain) for r in copper(4, seed=3)]
    copper_plain = [replace(record, theory=plain) for record in copper(1, seed=5)]
    nickel_hybrid = [replace(record, theory=hybrid) for record in nickel]
    potential, aim = lennard_jones(cutoff=4.0), FitLabels(CONFIG.weights)
    refuse_contradictions(potential, stored(tmp_path / "rule", copper_u + nickel), valid, aim, CONFIG)
    for name, train in (("same", copper_u + copper_plain), ("other", copper_u + nickel_hybrid)):
        with pytest.raises(GroundstateError, match="E-THEORY-MIXED"):
            refuse_contradictions(potential, stored(tmp_path / name, train), valid, aim, CONFIG)


def test_what_the_model_does_not_know_is_found_in_a_store(tmp_path: Path) -> None:
    """Distances were examined on import; elements and conditions of the model are examined here."""
    model = train_from_scratch(copper(6, seed=1), copper(3, seed=2), SMALL, CONFIG, tmp_path / "run").potential
    charged = [replace(r, system=r.system.replace(charge=torch.ones(1).double())) for r in copper(2, seed=4)]
    aim, valid = FitLabels(CONFIG.weights), stored(tmp_path / "valid", copper(2, seed=2))
    store = stored(tmp_path / "charged", [*copper(2, seed=3), *charged])
    with pytest.raises(GroundstateError, match=r"E-CHARGE-IGNORED.*records\.extxyz: frame 2"):
        refuse_contradictions(model, store, valid, aim, replace(CONFIG, batch_size=1))
    nickel = [replace(r, system=r.system.replace(numbers=torch.full_like(r.system.numbers, 28))) for r in charged]
    neutral = [replace(r, system=r.system.replace(charge=None)) for r in nickel]
    store = stored(tmp_path / "nickel", [*copper(2, seed=3), *neutral])
    with pytest.raises(GroundstateError, match="E-ELEMENT-UNSUPPORTED"):
        refuse_contradictions(model, store, valid, aim, replace(CONFIG, batch_size=1))
