"""Stores divided and joined: the same records in another place, with their levels of theory and their origins."""

from collections.abc import Callable
from pathlib import Path

import pytest

from groundstate.atoms import DataError, GroundstateError, RunError
from groundstate.data import (
    Record,
    Store,
    check_leaks,
    import_files,
    merge_stores,
    open_store,
    separate,
    split_store,
    write_records,
    write_store,
)
from groundstate.data.store import is_store
from labelled_water import WATER

from .conftest import HYBRID, PBE, put

Same = Callable[[Record, Record], None]


def test_a_copy_is_the_same(store: Store, records: list[Record], tmp_path: Path, same: Same) -> None:
    copy = write_store(store[::2], tmp_path / "copy", shard_MB=1e-3)
    assert len(copy.shards.entries) > 1
    for one, other in zip(copy, records[::2], strict=True):
        same(one, other)
    assert copy.fingerprints.tolist() == store[::2].fingerprints.tolist()


def test_records_of_a_program_become_a_store(records: list[Record], tmp_path: Path, same: Same) -> None:
    made = write_records(iter(records), tmp_path / "made", shard_MB=1e-3)
    assert len(made.shards.entries) > 1
    for one, other in zip(made, records, strict=True):
        same(one, other)
    with pytest.raises(RunError, match="E-OUTPUT-EXISTS"):
        write_records(records, tmp_path / "made")


def test_split(store: Store, tmp_path: Path) -> None:
    parts = split_store(store, tmp_path, [0.5, 0.3, 0.2], ["train", "valid", "test"], keep_together="material")
    check_leaks(*parts.values())
    frames = {name: [record.provenance.frame for record in part] for name, part in parts.items()}
    assert sorted(frame for own in frames.values() for frame in own if frame is not None) == list(range(40))
    assert all(own == sorted(frame for frame in own if frame is not None) for own in frames.values())
    assert is_store(tmp_path / "train")
    materials = [{record.provenance.tags["material"] for record in part} for part in parts.values()]
    assert not materials[0] & materials[1] | materials[1] & materials[2] | materials[0] & materials[2]


def test_one_store_per_level(store: Store, records: list[Record], tmp_path: Path) -> None:
    parts = separate(store, tmp_path / "levels")
    assert {name.split("#")[0].split("-")[0] for name in parts} == {"PBE+U", "PBE0", "no"}
    for part in parts.values():
        assert len({record.theory for record in part}) == 1
    assert sum(len(part) for part in parts.values()) == 40


def test_merge_keeps_levels_apart(records: list[Record], tmp_path: Path, same: Same) -> None:
    pbe = [record for record in records if record.theory == PBE]
    hybrid = [record for record in records if record.theory == HYBRID]
    merged = merge_stores([put(tmp_path / "a", pbe), put(tmp_path / "b", hybrid)], tmp_path / "ab")
    for one, other in zip(merged, [*pbe, *hybrid], strict=True):
        same(one, other)
    assert merged.levels == (PBE, HYBRID)
    assert dict(merged.statistics.levels.values()) == {PBE: len(pbe), HYBRID: len(hybrid)}


def test_known_and_unknown_levels_do_not_join(records: list[Record], tmp_path: Path) -> None:
    known = put(tmp_path / "a", [r for r in records if r.theory == PBE])
    unknown = put(tmp_path / "b", [r for r in records if r.theory is None])
    with pytest.raises(DataError, match=r"E-MERGE-THEORY.*--theory"):
        merge_stores([known, unknown], tmp_path / "ab")


def test_a_frame_is_not_joined_with_itself(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("".join(WATER.replace("O 0 0 0", f"O 0 0 {1e-2 * i}") for i in range(10)))
    whole = import_files([tmp_path / "a.xyz"], tmp_path / "whole")
    parts = split_store(whole, tmp_path, [0.5, 0.5], ["one", "two"])
    again = merge_stores(list(parts.values()), tmp_path / "again")
    assert len(again) == 10
    assert len(again.manifest.sources) == 1
    with pytest.raises(DataError, match=r"E-MERGE-TWICE.*a\.xyz.*frame"):
        merge_stores([whole, parts["one"]], tmp_path / "twice")


def test_what_is_there_stays(store: Store, tmp_path: Path) -> None:
    write_store(store[:5], tmp_path / "copy")
    with pytest.raises(RunError, match="E-OUTPUT-EXISTS"):
        write_store(store, tmp_path / "copy")
    with pytest.raises(RunError, match="E-OUTPUT-EXISTS"):
        split_store(store, tmp_path, [0.5, 0.5], ["other", "copy"])
    assert not (tmp_path / "other").exists()
    assert len(open_store(tmp_path / "copy")) == 5
    assert len(write_store(store, tmp_path / "copy", overwrite=True)) == 40


def test_names_and_targets(store: Store, tmp_path: Path) -> None:
    with pytest.raises(GroundstateError, match="E-SPLIT-NAMES"):
        split_store(store, tmp_path, [0.5, 0.5], ["a"])
    with pytest.raises(GroundstateError, match="E-MERGE-TARGET"):
        merge_stores([store], store.folder, overwrite=True)
