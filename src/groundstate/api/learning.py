"""Verbs that take labelled structures: train, finetune, evaluate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundstate.api.sources import File, configured, load
from groundstate.data import Record, read
from groundstate.potentials.mace import MACEConfig
from groundstate.training import ErrorTable, TrainConfig, TrainResult, evaluate_errors, train_from_scratch
from groundstate.training import finetune as finetune_records


def evaluate(source: File | Sequence[Record], model: Any) -> ErrorTable:
    """Errors of a model on labelled structures."""
    return evaluate_errors(load(model).potential, _records(source))


def train(
    train_source: File | Sequence[Record],
    valid_source: File | Sequence[Record],
    output: File,
    *,
    model: MACEConfig | None = None,
    progress: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> TrainResult:
    """Train a model of our own from scratch; `options` are fields of `TrainConfig`."""
    return train_from_scratch(
        _records(train_source),
        _records(valid_source),
        model or MACEConfig.of_size("S"),
        configured(TrainConfig, options),
        output,
        progress=progress,
        overwrite=overwrite,
    )


def finetune(
    base: Any,
    train_source: File | Sequence[Record],
    valid_source: File | Sequence[Record],
    output: File,
    *,
    model: MACEConfig | None = None,
    progress: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> TrainResult:
    """Teach a model your own labels; `model` shapes the correction of a public one, `options` are of `TrainConfig`."""
    return finetune_records(
        load(base).potential,
        _records(train_source),
        _records(valid_source),
        configured(TrainConfig, options),
        output,
        model=model,
        progress=progress,
        overwrite=overwrite,
    )


def _records(source: File | Sequence[Record]) -> Sequence[Record]:
    return read(source).records if isinstance(source, str | Path) else source
