"""Learning curves of fine-tuning and of training from scratch, on the data at hand."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from groundstate.atoms import DataError, OptionError
from groundstate.data import Record, fingerprint
from groundstate.data.files import owned_folder
from groundstate.potentials import Model, Potential
from groundstate.potentials.mace import MACEConfig, MACETrunk
from groundstate.training.advice import WAYS, Advice, Point, conclude
from groundstate.training.config import TrainConfig
from groundstate.training.error_table import evaluate_errors
from groundstate.training.finetune import CONTINUED, finetune
from groundstate.training.finetune_config import FinetuneConfig, choose, from_scratch
from groundstate.training.identity import data_hash
from groundstate.training.result import TrainResult
from groundstate.training.run_folder import RunFolder
from groundstate.training.scratch import train_from_scratch

TIMING = "label_seconds"
"""Tag of a record that says how long its label took, as `quantum` writes it."""


@dataclass(frozen=True)
class AdviceConfig:
    """What learning curves are measured on.

    sizes       structures to learn from; those that the data do not reach are left out, and all there are is added
    repeats     fits on different subsets at up to 20 structures, at up to 50, above
    held_out    share of the data that judges, in `blocks` contiguous pieces of the file: neighbours of one trajectory
                stay on one side
    wanted      error of forces (eV/Å), or of energies per atom (eV) where there are no forces, to be reached; half of
                the smallest measured when `None`
    cpu_hours_per_label   of one more calculation; from the records' `label_seconds`, one core each, when `None`
    """

    sizes: tuple[int, ...] = (10, 20, 50, 100)
    repeats: tuple[int, int, int] = (3, 2, 1)
    held_out: float = 0.25
    blocks: int = 12
    wanted: float | None = None
    cpu_hours_per_label: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(sorted(self.sizes)))
        for name, holds, fix in (
            ("sizes", bool(self.sizes) and min(self.sizes) >= 2, "give numbers of structures, at least 2"),
            ("repeats", len(self.repeats) == 3 and min(self.repeats) >= 1, "give three counts ≥ 1"),
            ("held_out", 0 < self.held_out < 1, "give a share between 0 and 1"),
            ("blocks", self.blocks >= 4, "give at least 4"),
            ("wanted", self.wanted is None or self.wanted > 0, "give an error above 0"),
            ("cpu_hours_per_label", self.cpu_hours_per_label is None or self.cpu_hours_per_label > 0, "give hours"),
        ):
            if not holds:
                raise OptionError("E-OPTION-RANGE", f"{name} is {getattr(self, name)}", fix=fix)

    def repeats_at(self, size: int) -> int:
        """Fits at this number of structures."""
        return self.repeats[0 if size <= 20 else 1 if size <= 50 else 2]


def advise(
    base: Potential,
    records: Sequence[Record],
    output_dir: str | os.PathLike[str],
    config: AdviceConfig | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    model: MACEConfig | None = None,
    progress: Callable[[str], None] = lambda line: None,
    overwrite: bool = False,
) -> Advice:
    """Fine-tune and train from scratch on nested subsets of the data, and read the two learning curves.

    Both ways get the same structures, are judged by the same held-out blocks, and choose their epoch on others of
    them. Every finished fit is kept in `output_dir`; the same call continues after a kill.

    options   of `TrainConfig`, for both ways; the others by the amount of data · plan: of `FinetuneConfig`
    model     of the model from scratch; that of the base where it is ours
    Raises DataError when there are too few structures. Checked: tests/training/test_advice.py
    """
    config, folder = config or AdviceConfig(), RunFolder(output_dir)
    pool, choosing, judging = _sets(records, config)
    sizes = sorted({size for size in config.sizes if size < len(pool)} | {min(len(pool), config.sizes[-1])})
    shape = model or _shape_of(base)
    asked = {k: v for k, v in asdict(config).items() if k not in ("wanted", "cpu_hours_per_label")}
    identity = {"data": data_hash(records), "base": base.fingerprint(), "config": asked, "model": shape.as_dict()}
    identity |= {"options": dict(options or {}), "plan": dict(plan or {})}
    with owned_folder(folder.path):
        folder.claim(identity, overwrite=overwrite)
        known = {} if overwrite else folder.read_json("points.json") or {}
        points = [Point(**row) for row in known.get("points", [])]
        untrained = evaluate_errors(base, judging)
        quantity = next(name for name in ("forces", "energy_no_offset", "energy") if name in untrained.rows)
        todo = [(way, size, k) for size in sizes for k in range(config.repeats_at(size)) for way in WAYS]
        for count, (way, size, repeat) in enumerate(todo):
            if any((point.way, point.size, point.repeat) == (way, size, repeat) for point in points):
                continue
            progress(f"{count + 1} of {len(todo)}: {way}, {size} structures, subset {repeat + 1}")
            taught = _nested(pool, config.seed + repeat)[:size]
            where = folder.path / f"{way.replace(' ', '-')}-{size}-{repeat}"
            fit = _Fit(base, taught, choosing, where, options or {}, plan or {}, shape, overwrite)
            result = fit.tuned() if way == WAYS[0] else fit.from_scratch()
            error = evaluate_errors(result.potential, judging)[quantity].rmse
            points.append(Point(way, size, repeat, error, result.seconds))
            folder.write_json("points.json", {"points": [asdict(point) for point in points]})
        hours = config.cpu_hours_per_label or measured_cpu_hours(records)
        row = untrained[quantity]
        advice = conclude(points, quantity, row.unit, row.rmse, len(pool), config.wanted, hours)
        folder.write_json("advice.json", advice.as_dict())
        return advice


@dataclass(frozen=True, eq=False)
class _Fit:
    """One training on one subset, either way."""

    base: Potential
    taught: Sequence[Record]
    choosing: Sequence[Record]
    folder: Path
    options: Mapping[str, Any]
    plan: Mapping[str, Any]
    shape: MACEConfig
    overwrite: bool

    def tuned(self) -> TrainResult:
        chosen = choose(
            len(self.taught),
            continued=self.base.describe()["kind"] in CONTINUED,
            method=self.plan.get("method", "full"),
        )
        plan = FinetuneConfig(**{**chosen.finetune, **self.plan})
        config = TrainConfig(**{**chosen.train, **self.options})
        sets = self.taught, self.choosing
        return finetune(self.base, *sets, config, self.folder, plan=plan, certify=False, overwrite=self.overwrite)

    def from_scratch(self) -> TrainResult:
        config = TrainConfig(**{**from_scratch(len(self.taught)), **self.options})
        sets = self.taught, self.choosing
        return train_from_scratch(*sets, self.shape, config, self.folder, overwrite=self.overwrite)


def blocked(records: Sequence[Record], held_out: float, blocks: int) -> tuple[list[Record], list[Record]]:
    """Contiguous blocks of the file, some of them, evenly spread, held out: the others first, then those."""
    edges = [round(i * len(records) / blocks) for i in range(blocks + 1)]
    count = max(1, round(held_out * blocks))
    chosen = {int((i + 0.5) * blocks / count) for i in range(count)}
    parts = [(i in chosen, records[edges[i] : edges[i + 1]]) for i in range(blocks)]
    return [r for held, part in parts if not held for r in part], [r for held, part in parts if held for r in part]


def _sets(records: Sequence[Record], config: AdviceConfig) -> tuple[list[Record], list[Record], list[Record]]:
    """Structures to learn from, to choose an epoch by, and to judge by; copies stay out of the latter two."""
    pool, held = blocked(records, config.held_out, config.blocks)
    taught = {fingerprint(record.system) for record in pool}
    elements = {z for record in pool for z in record.system.numbers.tolist()}
    fresh = [
        record
        for record in held
        if fingerprint(record.system) not in taught and set(record.system.numbers.tolist()) <= elements
    ]
    if len(fresh) < 4 or len(pool) < 6:
        raise DataError(
            "E-ADVICE-DATA",
            f"{len(records)} frames leave {len(pool)} to learn from and {len(fresh)} to judge by",
            why="a learning curve of so few says nothing",
            fix="give at least 20 different labelled structures",
        )
    return pool, fresh[::2], fresh[1::2]


def _nested(pool: Sequence[Record], seed: int) -> list[Record]:
    """All in random order, but first a few that together have every element: every subset then knows all of them."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed)).tolist()
    first: list[int] = []
    seen: set[int] = set()
    for i in order:
        if not set(pool[i].system.numbers.tolist()) <= seen:
            first.append(i)
            seen |= set(pool[i].system.numbers.tolist())
    return [pool[i] for i in dict.fromkeys([*first, *order])]


def measured_cpu_hours(records: Sequence[Record]) -> float | None:
    """Mean time of the labels, of one core, where the records say it."""
    stated = [float(r.provenance.tags[TIMING]) for r in records if TIMING in r.provenance.tags]
    return sum(stated) / len(stated) / 3600 if stated else None


def _shape_of(base: Potential) -> MACEConfig:
    trunk = base.trunk if isinstance(base, Model) else None
    return trunk.config if isinstance(trunk, MACETrunk) else MACEConfig.of_size("S")
