"""Every study that can be quick runs from one command to a page that is complete in itself."""

import html
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDIES = sorted(
    path.parent.name
    for path in (ROOT / "examples").glob("*/study.py")
    if '"--quick"' in path.read_text(encoding="utf-8")
)


def test_there_are_studies() -> None:
    assert "oxides" in STUDIES


@pytest.mark.parametrize("study", STUDIES)
def test_a_quick_study_leaves_a_report_and_its_twin(study: str, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples" / study / "study.py", "--quick", "--output", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, cwd=tmp_path)
    if done.returncode != 0 and "E-EXTRA-MISSING" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr[-2000:]
    page, twin = tmp_path / "out" / "report.html", tmp_path / "out" / "report.json"
    text, record = page.read_text(encoding="utf-8"), json.loads(twin.read_text(encoding="utf-8"))
    assert record["title"]
    assert record["title"] in html.unescape(text)
    assert record["lead"], "a result in a sentence"
    assert {"table", "figure", "facts"} <= {section["kind"] for section in record["sections"]}
    for fetched in ("<link", "src=", "@import", "fetch("):
        assert fetched not in text, "a page needs nothing else"
