"""Files into a store: what is read, what is refused, and that nothing is lost or doubled when an import is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from groundstate.atoms import DataError, GroundstateError, OptionError, RunError
from groundstate.data import Record, import_files, iterate, named_theories, open_store, read, readers, sources_in, write
from groundstate.data.extxyz import read_extxyz_from
from groundstate.data.files import owned_folder
from labelled_water import WATER

Same = Callable[[Record, Record], None]
SMALL = 2e-3
"""MB; a shard of about a dozen molecules of water."""


def water(path: Path, frames: int, first: int = 0) -> Path:
    """A file of different frames."""
    frames_text = [
        WATER.replace("O 0 0 0", f"O 0 0 {1e-4 * i}").replace("-14.25", f"{-14.25 - i}")
        for i in range(first, first + frames)
    ]
    path.write_text("".join(frames_text))
    return path


def energies(records: Any) -> list[float]:
    """In order."""
    return [-float(record.labels["energy"]) - 14.25 for record in records]


def test_what_a_file_holds(tmp_path: Path, same: Same) -> None:
    path = water(tmp_path / "a.extxyz", 40)
    told: list[int] = []
    store = import_files([path], tmp_path / "store", shard_MB=SMALL, progress=lambda now: told.append(now.frames))
    assert len(store.shards.entries) > 2
    for one, other in zip(store, read(path).records, strict=True):
        same(one, other)
    assert store.report().as_table()[0]["frames"] == "40/40"
    assert told[-1] == 40


def test_every_reader_takes_a_store(tmp_path: Path, same: Same) -> None:
    path = water(tmp_path / "a.extxyz", 5)
    import_files([path], tmp_path / "store")
    for one, other in zip(read(tmp_path / "store").records, iterate(tmp_path / "store"), strict=True):
        same(one, other)
    write(tmp_path / "back.extxyz", read(tmp_path / "store").records)
    assert energies(read(tmp_path / "back.extxyz").records) == energies(read(path).records)


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    files = [water(tmp_path / "a.extxyz", 30), water(tmp_path / "b.extxyz", 20, first=30)]
    import_files(files[:1], tmp_path / "store", shard_MB=SMALL)
    (tmp_path / "copy.extxyz").write_bytes(files[0].read_bytes())
    store = import_files([*files, tmp_path / "copy.extxyz"], tmp_path / "store", shard_MB=SMALL)
    assert energies(store) == [float(i) for i in range(50)]


class Killed(BaseException):
    """Stands for a kill: nothing is tidied up by the import itself."""


@pytest.mark.parametrize("killed_at", [0, 12, 29])
def test_goes_on_after_any_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int) -> None:
    files = [water(tmp_path / "a.extxyz", 20), water(tmp_path / "b.extxyz", 10, first=20)]
    whole = readers.read_extxyz
    count = 0

    def interrupted(path: Path) -> Iterator[Any]:
        nonlocal count
        for frame in whole(path):
            if count == killed_at:
                raise Killed
            count += 1
            yield frame

    monkeypatch.setitem(readers.BY_SUFFIX, ".extxyz", interrupted)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        import_files(files, tmp_path / "store", shard_MB=SMALL)
    monkeypatch.setitem(readers.BY_SUFFIX, ".extxyz", whole)  # type: ignore[arg-type]
    if (tmp_path / "store" / "manifest.json").exists():
        with pytest.raises(DataError, match=r"E-STORE-UNFINISHED.*goes on where it stopped"):
            open_store(tmp_path / "store")
        partial = energies(open_store(tmp_path / "store", salvage=True))
        assert partial == [float(i) for i in range(len(partial))]
    store = import_files(files, tmp_path / "store", shard_MB=SMALL)
    assert energies(store) == [float(i) for i in range(30)]
    assert store.report().rows[0].frames == 30


def test_killed_by_the_system(tmp_path: Path) -> None:
    """kill −9 in the middle, whatever the process is doing then."""
    path = water(tmp_path / "a.extxyz", 200)
    code = (
        "import sys; from groundstate.data import import_files; import_files([sys.argv[1]], sys.argv[2], shard_MB=2e-3)"
    )
    source = str(Path(readers.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source}
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(tmp_path / "store")], env=environment)
    while process.poll() is None and not (tmp_path / "store" / "shard-00001.arrow").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (tmp_path / "store" / "shard-99999.arrow").write_bytes(b"left by a kill")
    store = import_files([path], tmp_path / "store", shard_MB=0.05)
    assert energies(store) == [float(i) for i in range(200)]
    named = {entry.file for entry in store.shards.entries} | {"manifest.json", "lock"}
    assert {entry.name for entry in (tmp_path / "store").iterdir()} == named


def test_a_start_in_the_middle_is_the_middle(tmp_path: Path) -> None:
    path = water(tmp_path / "a.extxyz", 6)
    path.write_text(path.read_text().replace("3\nLattice", "\n\n 3 \nLattice"))
    for first in range(8):
        frames = [frame.info["energy"] for frame in read_extxyz_from(path, first)]  # type: ignore[union-attr]
        assert frames == [f"{-14.25 - i}" for i in range(first, 6)]


def test_options_of_a_begun_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    water(path, 30)
    path.write_text(path.read_text() + WATER.replace("-14.25", "nan"))
    with pytest.raises(GroundstateError, match=r"E-LABEL-NOT-FINITE.*frame 30"):
        import_files([path], tmp_path / "store", shard_MB=SMALL)
    with pytest.raises(DataError, match="E-STORE-OPTIONS"):
        import_files([path], tmp_path / "store", shard_MB=SMALL, keys={"stress": None})
    store = import_files([path], tmp_path / "store", shard_MB=SMALL, missing="mask")
    assert len(store) == 31
    assert "energy" not in store[30].labels
    assert "masked" in store.report().as_text()


def test_a_file_that_changed_is_another_file(tmp_path: Path) -> None:
    path = water(tmp_path / "a.extxyz", 30)
    path.write_text(path.read_text() + "3\n\nrubbish")
    with pytest.raises(GroundstateError):
        import_files([path], tmp_path / "store", shard_MB=SMALL)
    water(path, 31)
    with pytest.raises(DataError, match="E-STORE-SOURCE-CHANGED"):
        import_files([path], tmp_path / "store", shard_MB=SMALL)
    assert len(import_files([path], tmp_path / "store", shard_MB=SMALL, overwrite=True)) == 31


def test_a_file_left_half_way_keeps_the_store_unfinished(tmp_path: Path) -> None:
    bad, good = water(tmp_path / "bad.extxyz", 30), water(tmp_path / "good.extxyz", 5, first=50)
    bad.write_text(bad.read_text() + WATER.replace("-14.25", "nan"))
    with pytest.raises(GroundstateError, match="E-LABEL-NOT-FINITE"):
        import_files([bad], tmp_path / "store", shard_MB=SMALL)
    with pytest.raises(DataError, match=r"E-STORE-UNFINISHED.*bad\.extxyz"):
        import_files([good], tmp_path / "store")
    assert len(import_files([bad], tmp_path / "store", salvage=True)) == 35


def test_bad_frames_are_counted_where_they_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text(WATER + WATER.replace("H 0.96 0 0", "H 0.01 0 0") + WATER.replace("-14.25", "-15"))
    with pytest.raises(GroundstateError, match=r"E-ATOMS-CLOSE.*frame 1"):
        import_files([path], tmp_path / "store")
    store = import_files([path], tmp_path / "store", salvage=True)
    assert [record.provenance.frame for record in store] == [0, 2]
    assert "left out: E-ATOMS-CLOSE" in store.report().as_text()


@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        (("stress=", "kbar="), {"keys": {"stress": "absent"}}, "E-LABEL-KEY"),
        (("1e-3 0 0 0 2e-3 0 0 0 3e-3", "5 0 0 0 5 0 0 0 5"), {}, "E-STRESS-CONVENTION"),
        ((" energy=", " Enrgy="), {"require": ["energy"]}, "E-LABEL-MISSING"),
        (("energy", "energy"), {"require": ["enrgy"]}, "E-QUANTITY-UNKNOWN"),
        (("energy", "energy"), {"shard_MB": 0.0}, "E-OPTION-RANGE"),
    ],
)
def test_refused(tmp_path: Path, change: tuple[str, str], options: dict[str, Any], code: str) -> None:
    (tmp_path / "a.extxyz").write_text(WATER.replace(*change) * 2)
    with pytest.raises(GroundstateError) as caught:
        import_files([tmp_path / "a.extxyz"], tmp_path / "store", **options)
    assert caught.value.code == code
    assert not list((tmp_path / "store").glob("*.arrow"))


def test_an_unread_label_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.extxyz").write_text(WATER.replace(" energy=", " my_energy="))
    store = import_files([tmp_path / "a.extxyz"], tmp_path / "store")
    assert "'my_energy' looks like it" in store.report().as_text()


def test_folders_of_others_and_full_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = water(tmp_path / "a.extxyz", 3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match="E-OUTPUT-EXISTS"):
        import_files([path], tmp_path / "mine", overwrite=True)
    with owned_folder(tmp_path / "busy"), pytest.raises(RunError, match="E-RUN-LOCKED"):
        import_files([path], tmp_path / "busy")
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(RunError, match=r"E-DISK-FORECAST.*larger disk"):
        import_files([path], tmp_path / "store")
    assert len(import_files([path], tmp_path / "store", check_disk=False)) == 3


def test_levels_of_theory_frame_by_frame(tmp_path: Path) -> None:
    oxide = WATER.replace("O 0 0 0", "Fe 0 0 0").replace("H 0.96", "O 1.9").replace("H -0.24 0.93", "O -0.6 1.9")
    (tmp_path / "a.extxyz").write_text(WATER + oxide)
    store = import_files([tmp_path / "a.extxyz"], tmp_path / "store", theory=named_theories()["mp"])
    assert [record.theory and record.theory.hubbard_u for record in store] == [(), (("Fe", 5.3),)]
    options = json.loads((tmp_path / "store" / "manifest.json").read_text())["sources"][0]["options"]
    assert options["theory"]["hubbard_u"]["Fe"] == 5.3


def test_folders_stand_for_their_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    files = [water(tmp_path / "a.extxyz", 1), water(tmp_path / "sub" / "b.xyz", 2)]
    (tmp_path / "notes.txt").touch()
    assert sources_in(tmp_path) == files
    with pytest.raises(DataError, match="E-IMPORT-EMPTY"):
        sources_in((tmp_path / "empty").mkdir() or tmp_path / "empty")
    import_files(files, tmp_path / "store")
    with pytest.raises(OptionError, match="E-IMPORT-STORE"):
        sources_in(tmp_path / "store")


def test_labels_are_float64_whatever_was_written(tmp_path: Path) -> None:
    store = import_files([water(tmp_path / "a.extxyz", 1)], tmp_path / "store")
    assert {label.dtype for label in store[0].labels.values()} == {torch.float64}
