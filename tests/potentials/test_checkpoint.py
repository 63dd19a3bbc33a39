"""A model file gives back the same numbers, and nothing else can pass for one."""

import json
import struct
from pathlib import Path

import pytest
import torch

from groundstate.atoms import LevelOfTheory, ModelError, RunError
from groundstate.potentials import Sum, checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig, build
from toys import fcc, lennard_jones

CONFIG = MACEConfig(channels=4, lmax=2, hidden_lmax=1, correlation=2, layers=2, cutoff=4.0, dtype="float64")


def small() -> torch.nn.Module:
    return build(CONFIG, elements=(29,), reference_energies=[{29: -3.5}], theories=(LevelOfTheory("PBE"),), seed=3)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    model = small()
    identity = checkpoint.save(model, tmp_path / "m.safetensors", notes={"data": "abc"})
    again = checkpoint.load(tmp_path / "m.safetensors")
    assert again.fingerprint() == identity == model.fingerprint()
    assert again.theories == (LevelOfTheory("PBE"),)
    assert checkpoint.inspect(tmp_path / "m.safetensors")["notes"] == {"data": "abc"}
    first, second = (evaluate(p, fcc(), ("energy", "forces", "stress")) for p in (model, again))
    for name, value in first.items():
        # Equal but for where the allocator puts things: matrix products round by the alignment of their operands.
        torch.testing.assert_close(value, second[name], rtol=1e-12, atol=1e-12)
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_sums_and_foreign_kinds_need_their_builder(tmp_path: Path) -> None:
    checkpoint.save(Sum([lennard_jones(), small()]), tmp_path / "s.safetensors")
    with pytest.raises(ModelError, match="E-MODEL-KIND"):
        checkpoint.load(tmp_path / "s.safetensors")
    loaded = checkpoint.load(tmp_path / "s.safetensors", {"toy-pair": lambda description: lennard_jones()})
    assert isinstance(loaded, Sum)


def rewritten(path: Path, change: dict[str, object]) -> Path:
    """The same file with another JSON document."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["groundstate"] = json.dumps(json.loads(header["__metadata__"]["groundstate"]) | change)
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + length :])
    return path


def test_other_files_are_refused_by_code(tmp_path: Path) -> None:
    def expect(code: str, path: Path) -> None:
        with pytest.raises(ModelError, match=code) as caught:
            checkpoint.load(path)
        assert caught.value.file == str(path)

    def model(name: str) -> Path:
        checkpoint.save(small(), tmp_path / name)
        return tmp_path / name

    expect("E-MODEL-MISSING", tmp_path / "none.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pt")
    expect("E-PICKLE", tmp_path / "model.pt")
    (tmp_path / "page.safetensors").write_text("<!doctype html><title>404</title>")
    expect("E-MODEL-DOWNLOAD", tmp_path / "page.safetensors")
    cut = model("cut.safetensors")
    cut.write_bytes(cut.read_bytes()[:-100])
    expect("E-MODEL-DAMAGED", cut)
    flipped = model("flipped.safetensors")
    content = bytearray(flipped.read_bytes())
    content[-3] ^= 0x40
    flipped.write_bytes(bytes(content))
    expect("E-MODEL-DAMAGED", flipped)
    expect("E-MODEL-NEWER", rewritten(model("newer.safetensors"), {"schema": 99}))
    expect("E-MODEL-DAMAGED", rewritten(model("renamed.safetensors"), {"fingerprint": "mace@000000000000"}))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    expect("E-MODEL-DAMAGED", tmp_path / "empty.safetensors")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "m.safetensors"
    checkpoint.save(small(), target)
    before = target.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(RunError, match=r"E-WRITE.*disk full"):
        checkpoint.save(lennard_jones(), target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]
