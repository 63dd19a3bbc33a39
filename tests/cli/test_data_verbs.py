"""`groundstate data`: from files to a store to a model on the command line."""

import json
from pathlib import Path

import pytest

from command_line import Run
from groundstate.data import open_store, write
from labelled_water import WATER
from training.specimens import copper

pytest.importorskip("pyarrow")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Twenty frames of water."""
    path = tmp_path / "water.extxyz"
    path.write_text("".join(WATER.replace("O 0 0 0", f"O 0 0 {1e-2 * i}") for i in range(20)))
    return path


def test_import_says_what_was_read_and_what_it_needs(run: Run, frames: Path, tmp_path: Path) -> None:
    code, out, err = run("data", "import", frames, "--theory", "mp", "--output", tmp_path / "store")
    assert code == 0
    assert "20 frames in 1 shards" in out
    assert "MB of memory" in err
    assert "energy    energy  20/20" in err
    code, out, _ = run("data", "import", frames, "--theory", "mp", "--output", tmp_path / "store", "--json")
    assert json.loads(out)["frames"] == 20


def test_keys_and_conventions(run: Run, tmp_path: Path) -> None:
    text = WATER.replace(" energy=", " E_tot=").replace("1e-3 0 0 0 2e-3 0 0 0 3e-3", "-1 -2 -3 0 0 0")
    (tmp_path / "a.extxyz").write_text(text)
    words = ("data", "import", tmp_path / "a.extxyz", "--output", tmp_path / "store")
    code, _, _ = run(*words, "--key", "energy=E_tot", "--stress-convention", "kbar-vasp", "--key", "forces=")
    assert code == 0
    (record,) = open_store(tmp_path / "store")
    assert record.labels.keys() == {"energy", "stress"}
    assert float(record.labels["stress"][0, 0]) == pytest.approx(6.241509e-4)
    code, _, err = run(*words, "--key", "energy")
    assert (code, "E-OPTION" in err) == (2, True)


def test_stats(run: Run, frames: Path, tmp_path: Path) -> None:
    run("data", "import", frames, "--output", tmp_path / "store")
    code, out, err = run("data", "stats", tmp_path / "store", "--neighbours", "2")
    assert code == 0
    assert all(word in out for word in ("TTT", "not stated", "20 frames, 60 atoms, 3 to 3 per frame"))
    assert "stress" in err
    found = json.loads(run("data", "stats", tmp_path / "store", "--neighbours", "2", "--json")[1])
    assert found["elements"] == {"1": [20, 40], "8": [20, 20]}
    assert found["labels"]["energy"]["mean"] == pytest.approx(-14.25 / 3)
    assert 1.0 <= found["neighbours"]["mean"] <= 2.0


def test_split_and_merge(run: Run, frames: Path, tmp_path: Path) -> None:
    run("data", "import", frames, "--output", tmp_path / "store")
    code, out, _ = run("data", "split", tmp_path / "store", "--output", tmp_path / "parts", "--json")
    assert code == 0
    assert {name: part["frames"] for name, part in json.loads(out).items()} == {"train": 16, "valid": 2, "test": 2}
    parts = [tmp_path / "parts" / name for name in ("train", "test")]
    code, out, _ = run("data", "merge", *parts, "--output", tmp_path / "both")
    assert (code, "18 frames" in out) == (0, True)
    code, _, err = run("data", "split", tmp_path / "store", "--output", tmp_path / "parts")
    assert (code, "E-OUTPUT-EXISTS" in err) == (7, True)
    code, _, err = run("data", "split", tmp_path / "store", "-o", tmp_path / "p", "--fractions", "a")
    assert (code, "E-OPTION" in err) == (2, True)


def test_train_on_a_store(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "copper.extxyz", copper(12, seed=1))
    assert run("data", "import", tmp_path / "copper.extxyz", "--output", tmp_path / "store")[0] == 0
    code, _, err = run("train", tmp_path / "store", "--output", tmp_path / "run", "--size", "XS", "--epochs", "1")
    assert code == 0, err
    code, out, _ = run("evaluate", tmp_path / "store", "--model", tmp_path / "run" / "model.safetensors", "--json")
    assert json.loads(out)["frames"] == 12
    page = json.loads((tmp_path / "run" / "report.json").read_text())
    assert "store " in json.dumps(page)
