"""Measurements on disk, one JSON file each, so that a run can go on where it stopped."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plan import Case, Contender


class Store:
    """A folder of measurements, all of one machine."""

    def __init__(self, folder: Path, machine: dict[str, Any], *, fresh: bool) -> None:
        self.folder = folder
        self._measurements = folder / "measurements"
        if fresh and self._measurements.exists():
            shutil.rmtree(self._measurements)
        self._measurements.mkdir(parents=True, exist_ok=True)
        record = self._measurements / "machine.json"
        if record.exists() and json.loads(record.read_text()) != machine:
            raise SystemExit(
                f"E-BENCH-MACHINE: {folder} holds measurements of another machine. Ratios across machines say nothing. "
                "Give another --output, or --fresh."
            )
        write(record, machine)

    def finished(self, contender: Contender, case: Case, turn: int) -> dict[str, Any] | None:
        """The measurement if it is there; what failed or was left out is judged again."""
        path = self._path(contender, case, turn)
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return None if found.keys() & {"error", "skipped"} else found

    def keep(self, contender: Contender, case: Case, turn: int, measured: dict[str, Any]) -> None:
        """Write one; it appears whole or not at all."""
        names = {"contender": contender.name, "case": case.name, "structure": case.structure, "turn": turn}
        write(self._path(contender, case, turn), names | measured)

    def keep_hello(self, contender: Contender, hello: dict[str, Any]) -> None:
        """What a contender said when it had loaded."""
        write(self._measurements / contender.name / "hello.json", hello)

    def hellos(self) -> dict[str, dict[str, Any]]:
        """By contender."""
        return {path.parent.name: json.loads(path.read_text()) for path in self._measurements.glob("*/hello.json")}

    def keep_peak(self, peak: dict[str, Any]) -> None:
        """One more measurement of the machine's own peak."""
        write(self._measurements / f"peak-{len(self.peaks()):03}.json", peak)

    def peaks(self) -> list[dict[str, Any]]:
        """All of them."""
        return [json.loads(path.read_text()) for path in sorted(self._measurements.glob("peak-*.json"))]

    def all(self) -> Iterator[dict[str, Any]]:
        """Every measurement, failures included."""
        for path in sorted(self._measurements.glob("*/*.json")):
            if path.name != "hello.json":
                yield json.loads(path.read_text())

    def _path(self, contender: Contender, case: Case, turn: int) -> Path:
        return self._measurements / contender.name / f"{re.sub(r'[^a-zA-Z0-9.]+', '-', case.name)}-{turn}.json"


def write(path: Path, document: Any) -> None:
    """JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=1))
    partial.replace(path)
