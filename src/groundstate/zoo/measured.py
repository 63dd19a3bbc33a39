"""Which laws of physics the public models were found to keep: records that a command made, never written by hand.

`benchmarks/laws_table.py` examines the models that are installed and leaves one record each in `laws_measured`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from groundstate.external import ExternalPotential
from groundstate.laws import LawResult
from groundstate.potentials import Potential
from groundstate.zoo.catalogue import Card

MEASURED = Path(__file__).parent / "laws_measured"
_OURS = ("groundstate", "torch")


def as_record(potential: Potential, results: Sequence[LawResult], *, seed: int) -> dict[str, Any]:
    """Plain data: results with identity, versions and date; numbers that are not finite become null."""
    versions = {package: version(package) for package in _OURS}
    if isinstance(potential, ExternalPotential):
        versions |= {name: value for name, value in potential.worker.facts.items() if isinstance(value, str)}
    rows = [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
        for row in map(asdict, results)
    ]
    today = datetime.now(UTC).date().isoformat()
    return {"identity": potential.fingerprint(), "seed": seed, "date": today, "versions": versions, "results": rows}


def results_of(record: Mapping[str, Any]) -> list[LawResult]:
    """Inverse of what `as_record` did to the results."""
    return [_result(row) for row in record["results"]]


def _result(row: Mapping[str, Any]) -> LawResult:
    measured, tolerance = (math.nan if row[key] is None else float(row[key]) for key in ("measured", "tolerance"))
    return LawResult(row["law"], row["passed"], measured, tolerance, row["unit"], row["detail"])


def measured(card: Card) -> Mapping[str, Mapping[str, Any]]:
    """The records of a model by precision; empty where it was not examined."""
    found = {}
    for precision in card.precisions:
        path = MEASURED / f"{card.key}-{precision}.json"
        if path.is_file():
            found[precision] = json.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType(found)


def summary(card: Card) -> dict[str, str]:
    """By precision, in words: how many laws it keeps, and which it breaks."""
    said = {}
    for precision, record in measured(card).items():
        results = results_of(record)
        broken = [result.law for result in results if result.passed is False]
        kept = sum(result.passed is True for result in results)
        said[precision] = f"keeps {kept} of {len(results)}" + (f", breaks {', '.join(broken)}" if broken else "")
    return said
