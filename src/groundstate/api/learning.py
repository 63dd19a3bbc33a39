"""Verbs that take labelled structures: train, finetune, advise, evaluate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from groundstate import training
from groundstate.api.sources import File, configured, load
from groundstate.atoms import OptionError, nearest
from groundstate.data import Record, read
from groundstate.potentials.mace import MACEConfig
from groundstate.report import certificate_page, provenance
from groundstate.training import (
    Advice,
    AdviceConfig,
    ErrorTable,
    FinetuneConfig,
    TrainConfig,
    TrainResult,
    choose,
    evaluate_errors,
    train_from_scratch,
    train_further,
)


def evaluate(source: File | Sequence[Record], model: Any) -> ErrorTable:
    """Errors of a model on labelled structures."""
    return evaluate_errors(load(model).potential, _records(source))


def train(
    train_source: File | Sequence[Record],
    valid_source: File | Sequence[Record],
    output: File,
    *,
    model: MACEConfig | None = None,
    start: Any = None,
    progress: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> TrainResult:
    """Train a model of our own; `options` are fields of `TrainConfig`.

    model  what is built and trained from scratch, size S when `None`
    start  a trained model of our own to go on from in place of that; it keeps its shape and gains the heads that the
           weights ask for
    """
    if start is not None and model is not None:
        raise OptionError(
            "E-START-MODEL",
            "both a model to start from and the shape of a new one are given",
            why="the first has its shape",
            fix="leave one of them out; of a recipe, the table [model]",
        )
    records, config = (_records(train_source), _records(valid_source)), configured(TrainConfig, options)
    said: dict[str, Any] = {"progress": progress, "overwrite": overwrite}
    if start is not None:
        return train_further(load(start).potential, *records, config, output, **said)
    return train_from_scratch(*records, model or MACEConfig.of_size("S"), config, output, **said)


def finetune(
    base: Any,
    train_source: File | Sequence[Record],
    valid_source: File | Sequence[Record],
    output: File,
    *,
    model: MACEConfig | None = None,
    replay: File | Sequence[Record] | None = None,
    certify: bool = True,
    progress: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> TrainResult:
    """Teach a model your own labels, and certify what became of it.

    options   of `FinetuneConfig` (method, rank, replay_share, …) and of `TrainConfig`; those not given are chosen from
              the amount of data and the kind of model, see `training.choose`
    replay    structures on which the base's predictions are kept, with or without labels; made on the spot when `None`
    model     shapes the correction of a public model
    certify   leave certificate.json and certificate_page.html beside the weights
    """
    potential, records = load(base).potential, _records(train_source)
    plan, rest = _sorted(options)
    ours = potential.describe()["kind"] in training.CONTINUED
    chosen = choose(len(records), continued=ours, method=plan.get("method", "full"))
    result = training.finetune(
        potential,
        records,
        _records(valid_source),
        TrainConfig(**{**chosen.train, **rest}),
        output,
        plan=FinetuneConfig(**{**chosen.finetune, **plan}),
        replay=None if replay is None else _structures(replay),
        model=model,
        certify=certify,
        progress=progress,
        overwrite=overwrite,
    )
    if result.certificate is not None:
        page = certificate_page(result.certificate, provenance(result.potential))
        page.write(Path(output) / "certificate_page.html")
    return result


def advise(
    base: Any,
    source: File | Sequence[Record],
    output: File,
    *,
    model: MACEConfig | None = None,
    config: AdviceConfig | None = None,
    progress: Callable[[str], None] = lambda line: None,
    overwrite: bool = False,
    **options: Any,
) -> Advice:
    """Learning curves of fine-tuning and of training from scratch on your labels, and which to choose; see `finetune`
    for `options`."""
    plan, rest = _sorted(options)
    return training.advise(
        load(base).potential,
        _records(source),
        output,
        config,
        options=rest,
        plan=plan,
        model=model,
        progress=progress,
        overwrite=overwrite,
    )


def _sorted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of `FinetuneConfig`, and of `TrainConfig`; a name that neither has is answered with the nearest."""
    own, rest = ({f.name for f in fields(kind)} for kind in (FinetuneConfig, TrainConfig))
    for name in options:
        if name not in own | rest:
            raise OptionError("E-OPTION", f"there is no option '{name}'", fix=nearest(name, own | rest))
    return {k: v for k, v in options.items() if k in own}, {k: v for k, v in options.items() if k in rest}


def _records(source: File | Sequence[Record]) -> Sequence[Record]:
    return read(source).records if isinstance(source, str | Path) else source


def _structures(source: File | Sequence[Record]) -> Sequence[Record]:
    return read(source, missing="mask").records if isinstance(source, str | Path) else source
