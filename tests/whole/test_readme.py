"""The example of the README runs as it stands, on the files of the demo."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("chgnet", reason="the package with CHGNet's weights is not installed")
    for name in ("MgO.cif", "SrTiO3.cif", "mgo_pbe.extxyz"):
        shutil.copy(ROOT / "examples" / "oxides" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 17
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert printed.count("converged") == 2
    assert "forces" in printed
    assert (tmp_path / "tuned" / "model.safetensors").exists()
