"""A damaged store says which part of it, and lends the rest where it is asked to by name."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from groundstate.atoms import DataError
from groundstate.data import Record, Store, open_store, read

Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    """The end is missing."""
    path.write_bytes(path.read_bytes()[:-100])


def gone(path: Path) -> None:
    """The whole file is missing."""
    path.unlink()


def flipped(path: Path) -> None:
    """One bit of a number in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def scrambled(path: Path) -> None:
    """Nothing but noise, of the same size."""
    path.write_bytes(b"\xa5" * path.stat().st_size)


@pytest.mark.parametrize("damage", [cut, gone])
def test_named_when_the_store_is_opened(store: Store, records: list[Record], damage: Damage) -> None:
    damage(store.folder / "shard-00002.arrow")
    with pytest.raises(DataError, match=r"E-STORE-DAMAGED: shard shard-00002\.arrow with 7 frames.*--salvage"):
        open_store(store.folder)
    rest = open_store(store.folder, salvage=True)
    assert len(rest) == 33
    kept = [r.provenance.frame for r in records if r.provenance.frame not in range(14, 21)]
    assert [r.provenance.frame for r in rest] == kept
    assert any("shard-00002.arrow" in note for note in rest.report().notes)


def test_noise_is_named_when_it_is_touched_and_never_read(store: Store) -> None:
    scrambled(store.folder / "shard-00002.arrow")
    opened = open_store(store.folder)
    assert opened[13].provenance.frame == 13
    with pytest.raises(DataError, match=r"E-STORE-DAMAGED.*shard-00002"):
        opened[14]
    assert opened[21].provenance.frame == 21
    assert len(open_store(store.folder, salvage=True)) == 33


def test_one_flipped_bit_is_found_by_the_checksum(store: Store) -> None:
    flipped(store.folder / "shard-00003.arrow")
    with pytest.raises(DataError, match=r"E-STORE-DAMAGED.*shard-00003.*checksum"):
        open_store(store.folder, verify="all")
    touched = open_store(store.folder, verify="touch")
    assert touched[0].provenance.frame == 0
    with pytest.raises(DataError, match="checksum"):
        touched[21]
    assert len(open_store(store.folder, verify="all", salvage=True)) == 33


@pytest.mark.parametrize("position", range(0, 100, 17))
def test_a_cut_or_noisy_tail_never_crashes(store: Store, position: int) -> None:
    """Offsets from a damaged footer are checked before they are followed."""
    path = store.folder / "shard-00000.arrow"
    content = bytearray(path.read_bytes())
    at = len(content) * position // 100
    content[at : at + 64] = b"\xff" * len(content[at : at + 64])
    path.write_bytes(content)
    # Numbers may be wrong, which only the checksum tells; then every frame is there. Or the shard is refused.
    with contextlib.suppress(DataError):
        assert len(list(open_store(store.folder))) == 40
    with pytest.raises(DataError, match="E-STORE-DAMAGED"):
        open_store(store.folder, verify="all")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "x"}', '{"format": "groundstate store"}'])
def test_damaged_manifest(store: Store, text: str) -> None:
    (store.folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="E-STORE-MANIFEST"):
        open_store(store.folder)


def test_newer_store(store: Store) -> None:
    path = store.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99, "written_by": "7.0"}))
    with pytest.raises(DataError, match=r"E-STORE-VERSION.*groundstate 7\.0.*Upgrade"):
        open_store(store.folder)


def test_reading_a_damaged_store_by_the_reader(store: Store) -> None:
    cut(store.folder / "shard-00005.arrow")
    with pytest.raises(DataError, match="E-STORE-DAMAGED"):
        read(store.folder)
    assert len(read(store.folder, salvage=True)) == 35


def test_reading_options_belong_to_the_import(store: Store) -> None:
    with pytest.raises(Exception, match="E-STORE-READ"):
        read(store.folder, keys={"energy": "E"})
    with pytest.raises(DataError, match=r"E-LABEL-MISSING.*forces"):
        read(store.folder, require=["forces"])
    assert len(read(store.folder, require=["forces"], missing="mask")) == 40


def test_a_folder_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="E-STORE-MISSING"):
        open_store(tmp_path)
