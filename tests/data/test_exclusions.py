"""Lists of frames to leave out reach those frames and no others."""

from dataclasses import replace
from pathlib import Path

import pytest

from groundstate.atoms import DataError, System
from groundstate.data import Provenance, Record, without, write_exclusions

ATOM = Record(System.single([[0.0, 0, 0]], [29]))
RECORDS = [replace(ATOM, provenance=Provenance(file=f"{name}.extxyz", frame=i)) for name in "ab" for i in range(3)]


def test_what_is_written_is_obeyed(tmp_path: Path) -> None:
    listed = tmp_path / "exclude.txt"
    write_exclusions(RECORDS, [1, 5], listed)
    assert listed.read_text().splitlines()[1:] == ["1\ta.extxyz", "2\tb.extxyz"]
    assert without(RECORDS, listed) == [RECORDS[i] for i in (0, 2, 3, 4)]


def test_frames_of_any_file(tmp_path: Path) -> None:
    listed = tmp_path / "exclude.txt"
    listed.write_text("2\n")
    assert without(RECORDS, listed) == [RECORDS[i] for i in (0, 1, 3, 4)]
    assert without([ATOM, ATOM, ATOM], listed) == [ATOM, ATOM]


@pytest.mark.parametrize("line", ["3\ta.extxyz", "0\tc.extxyz", "7", "first\ta.extxyz"])
def test_a_list_for_other_data_is_refused(tmp_path: Path, line: str) -> None:
    listed = tmp_path / "exclude.txt"
    listed.write_text(f"# frames\n0\ta.extxyz\n{line}\n")
    with pytest.raises(DataError, match="E-EXCLUDE") as refused:
        without(RECORDS, listed)
    assert "line 3" in str(refused.value)
