"""Planted learning curves lead to the right sentence; a small campaign runs, resumes, and judges on other frames."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from groundstate.atoms import DataError, RunError
from groundstate.data import Record
from groundstate.potentials.mace import MACEConfig
from groundstate.training import AdviceConfig, advise, blocked
from groundstate.training.advice import WAYS, Advice, Point, conclude
from groundstate.training.advise import measured_cpu_hours
from toys import lennard_jones
from training.specimens import CUTOFF, copper

SIZES = (10, 20, 50, 100)


def planted(tuned: float, scratch: float, wanted: float | None, hours: float | None, untrained: float = 9.0) -> Advice:
    """Both ways fall as 1/√n, from these errors at one structure."""
    points = []
    for way, a in zip(WAYS, (tuned, scratch), strict=True):
        points += [Point(way, n, k, a * n**-0.5 * (1 + 0.02 * (-1) ** k), 1.0) for n in SIZES for k in range(2)]
    return conclude(points, "forces", "eV/Å", untrained, 120, wanted, hours)


def test_the_better_way_and_the_price_of_more() -> None:
    advice = planted(0.5, 1.5, 0.025, 0.2)
    assert advice.sentence.startswith("Choose to fine-tune")
    assert "a factor of 3" in advice.sentence
    assert advice.needed is not None
    assert advice.needed.value == pytest.approx(400, rel=0.05)
    assert advice.needed.low < 400 < advice.needed.high
    more = math.ceil(advice.needed.value) - 120
    assert f"{more} more than there are" in advice.sentence
    assert f"{more * 0.2:.3g} CPU hours" in advice.sentence
    json.dumps(advice.as_dict(), allow_nan=False)
    assert "state the CPU hours" in planted(0.5, 1.5, 0.025, None).sentence


def test_other_outcomes_are_said_plainly() -> None:
    assert planted(1.5, 0.5, 0.025, None).sentence.startswith("Choose to train from scratch")
    assert planted(0.5, 0.51, 0.025, None).sentence.startswith("Neither way is clearly better")
    assert planted(0.5, 1.5, 0.3, None).sentence.endswith("is reached already.")
    assert "not within reach" in planted(0.5, 1.5, 1e-4, None).sentence
    assert planted(0.5, 1.5, 0.025, None, untrained=0.01).sentence.startswith("Keep the base as it is")
    flat = [Point(way, n, 0, 0.3 + 0.01 * (n % 3), 1.0) for way in WAYS for n in SIZES]
    assert (
        "cannot be extrapolated from 10, 20, 50, 100" in conclude(flat, "forces", "eV/Å", 9.0, 120, 0.1, 1.0).sentence
    )


def test_costs_are_read_from_the_records() -> None:
    records = copper(2, seed=1)
    assert measured_cpu_hours(records) is None
    timed = [
        replace(r, provenance=replace(r.provenance, tags={"label_seconds": s}))
        for r, s in zip(records, ("1800", "5400"), strict=True)
    ]
    assert measured_cpu_hours(timed) == 1.0


def test_blocks_are_contiguous_and_share_nothing() -> None:
    records = copper(48, seed=4, labels=("energy",))
    pool, held = blocked(records, 0.25, 12)
    assert len(held) == 12
    assert {id(r) for r in pool}.isdisjoint(id(r) for r in held)
    frames = [r.provenance.frame for r in held]
    breaks = sum(b != a + 1 for a, b in pairwise(frames) if a is not None and b is not None)
    assert breaks == 2, "three blocks"


def test_a_campaign_resumes_and_is_bound_to_its_data(tmp_path: Path) -> None:
    base = lennard_jones(epsilon=0.17, cutoff=CUTOFF)
    shape = MACEConfig(channels=2, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=3.5)
    options = {"epochs": 2, "accelerator": "cpu"}
    config = AdviceConfig(sizes=(4, 6, 9), repeats=(1, 1, 1), blocks=6, held_out=0.4)
    said: list[str] = []

    def run(records: list[Record], config: AdviceConfig = config) -> Advice:
        said.clear()
        return advise(base, records, tmp_path, config, options=options, model=shape, progress=said.append)

    records = copper(24, seed=6)
    advice = run(records)
    assert len(said) == 6
    assert [(p.way, p.size) for p in advice.points] == [(way, n) for n in (4, 6, 9) for way in WAYS]
    again = run(records)
    assert said == []
    assert again.sentence == advice.sentence
    assert json.loads((tmp_path / "advice.json").read_text())["sentence"] == advice.sentence
    with pytest.raises(RunError, match="E-RUN-MISMATCH"):
        run(copper(24, seed=7))
    with pytest.raises(DataError, match="E-ADVICE-DATA"):
        run(records[:8])
