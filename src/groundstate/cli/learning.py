"""Verbs that take labelled structures: train, finetune, evaluate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from groundstate import api
from groundstate.cli import options as opt
from groundstate.cli.app import app, errors, output, show
from groundstate.cli.pages import learning as pages
from groundstate.data import LabelReport, Record, read, split, without
from groundstate.potentials.mace import MACEConfig
from groundstate.report import advice_page, provenance
from groundstate.training import AdviceConfig, ErrorTable, Recipe, TrainConfig, TrainResult, load_recipe

Exclude = Annotated[
    Path | None, typer.Option(help="List of frames not to learn from, as `data check --report` leaves one.")
]
RecipeFile = Annotated[Path | None, typer.Option(help="TOML recipe of training options; a mistyped key is refused.")]
Valid = Annotated[
    Path | None, typer.Option(help="Labelled structures to validate on; otherwise a part of the training file.")
]
ValidFraction = Annotated[float, typer.Option(help="Share of the training file held out when --valid is not given.")]
RunFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; the same command continues it.")]
Minutes = Annotated[float | None, typer.Option("--time-limit-minutes", help="End with a finished model by then.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training data; overrides the recipe.")]
Seed = Annotated[int | None, typer.Option(help="Seed of weights and batches; overrides the recipe.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete what is in the output folder first.")]
Method = Annotated[
    str | None,
    typer.Option(help="full: all weights; heads: frozen trunk; lora: low-rank adapters. Models of ours only."),
]
Rank = Annotated[int | None, typer.Option(help="Directions in which lora lets each matrix turn.")]
ReplayFile = Annotated[
    Path | None,
    typer.Option("--replay", help="Structures to keep what the base says of; else those it remembers, or made ones."),
]
ReplayShare = Annotated[float | None, typer.Option(help="Share of replay in an epoch; 0 for none.")]
LearningRate = Annotated[float | None, typer.Option(help="Largest learning rate.")]
Advise = Annotated[
    bool, typer.Option("--advise", help="Measure learning curves and say what to do; delivers no model.")
]
WantedError = Annotated[float | None, typer.Option(help="With --advise: RMSE of forces to be reached, eV/Å.")]
CPUHours = Annotated[
    float | None, typer.Option("--cpu-hours-per-label", help="With --advise: cost of one more reference calculation.")
]
Start = Annotated[
    str | None, typer.Option(help="Trained model of our own to go on from; it keeps its shape and gains missing heads.")
]
Size = Annotated[str, typer.Option(help="XS, S, M or L: one dial for width and depth of the model; S if not said.")]


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Labelled structures: extxyz, vasprun.xml, ASE db, …")],
    folder: RunFolder,
    valid: Valid = None,
    valid_fraction: ValidFraction = 0.1,
    exclude: Exclude = None,
    recipe: RecipeFile = None,
    size: Size | None = None,
    start: Start = None,
    epochs: Epochs = None,
    time_limit_minutes: Minutes = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Train a potential of your own, from scratch or from where another run of yours ended.

    Prints which label was read from which key, in which range and unit, before anything is computed.

    `groundstate train labels.extxyz --output run --size S --time-limit-minutes 30`

    `groundstate train more.extxyz --output run-2 --start run/model.safetensors --epochs 50`
    """
    opt.refuse_report(report)
    training, validation = _labelled(data, exclude, valid, valid_fraction, seed or 0)
    named = {"epochs": epochs, "time_limit_minutes": time_limit_minutes, "seed": seed}
    model, options = _options(recipe, size, start, named)
    result = api.train(
        training, validation, folder, model=model, start=start, progress=True, overwrite=overwrite, **options
    )
    files = [file for file in (data, exclude, valid, recipe) if file is not None]
    title = "Training from scratch" if start is None else f"Training from {start}"
    return _finished(title, folder, result, files, report, as_json)


@app.command()
def finetune(
    data: Annotated[Path, typer.Argument(help="Your labelled structures; a few dozen are a start.")],
    folder: RunFolder,
    model: opt.Model = opt.DEFAULT_MODEL,
    valid: Valid = None,
    valid_fraction: ValidFraction = 0.2,
    exclude: Exclude = None,
    recipe: RecipeFile = None,
    method: Method = None,
    rank: Rank = None,
    replay: ReplayFile = None,
    replay_share: ReplayShare = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    time_limit_minutes: Minutes = None,
    seed: Seed = None,
    advise: Advise = False,
    wanted_error: WantedError = None,
    cpu_hours_per_label: CPUHours = None,
    overwrite: Overwrite = False,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Teach a model your own labels, and certify what became better and what worse.

    A model of our own continues, with what is not named chosen from the amount of data; a public model is kept as it
    is and a small model of our own learns the difference. With --advise nothing is delivered: both fine-tuning and
    training from scratch are tried on parts of your data, and you are told which to choose and what more data bring.

    `groundstate finetune mine.extxyz --model base.safetensors --output tuned`

    `groundstate finetune mine.extxyz --model base.safetensors --output advice --advise --cpu-hours-per-label 0.5`
    """
    opt.refuse_report(report)
    chosen = Recipe(MACEConfig.of_size("XS"), TrainConfig()) if recipe is None else load_recipe(recipe)
    named = {
        "method": method,
        "rank": rank,
        "replay_share": replay_share,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "time_limit_minutes": time_limit_minutes,
        "seed": seed,
    }
    options = {**chosen.stated, **{key: value for key, value in named.items() if value is not None}}
    if advise:
        scratch = None if recipe is None else chosen.model
        asked = AdviceConfig(wanted=wanted_error, cpu_hours_per_label=cpu_hours_per_label, seed=seed or 0)
        return _advised(data, exclude, folder, model, scratch, asked, options, overwrite, report, as_json)
    training, validation = _labelled(data, exclude, valid, valid_fraction, seed or 0)
    result = api.finetune(
        model,
        training,
        validation,
        folder,
        model=chosen.model,
        replay=replay,
        progress=True,
        overwrite=overwrite,
        **options,
    )
    files = [file for file in (data, exclude, valid, recipe, replay) if file is not None]
    code = _finished(f"Fine-tuning of {model}", folder, result, files, report, as_json)
    if result.certificate is not None:
        errors.print(f"Certificate: {folder / 'certificate_page.html'}\n{result.certificate}", markup=False)
    return code


def _advised(
    data: Path,
    exclude: Path | None,
    folder: Path,
    model: str,
    scratch: MACEConfig | None,
    config: AdviceConfig,
    options: dict[str, Any],
    overwrite: bool,
    report: Path | None,
    as_json: bool,
) -> int:
    dataset, loaded = read(data), api.load(model)
    _tell(dataset.report)
    advice = api.advise(
        loaded,
        dataset.records if exclude is None else without(dataset.records, exclude),
        folder,
        model=scratch,
        config=config,
        progress=lambda line: errors.print(line, markup=False),
        overwrite=overwrite,
        **options,
    )
    opt.leave(advice_page(advice, provenance(loaded.potential, files=[data])), report, folder)
    if as_json:
        show(advice.as_dict())
    else:
        output.print(str(advice), markup=False, soft_wrap=True)
        output.print(f"Report: {folder / 'report.html'}", markup=False)
    return 0


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Labelled structures.")],
    model: opt.Model = opt.DEFAULT_MODEL,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Errors of a model on labelled structures: energy (as it is, and at fixed composition), forces, stress.

    `groundstate evaluate test.extxyz --model run/model.safetensors`
    """
    opt.refuse_report(report)
    dataset, loaded = read(data), api.load(model)
    _tell(dataset.report)
    table = api.evaluate(dataset.records, loaded)
    if report is not None:
        results = _predicted(dataset.records, loaded)
        opt.leave(pages.evaluated(table, dataset.records, results, provenance(loaded.potential, files=[data])), report)
    if as_json:
        show({"model": loaded.id, **table.as_dict()})
    else:
        _print_errors(f"Errors of {loaded.id} on {table.frames} frames", {"": table})
    return 0


def _labelled(
    data: Path, exclude: Path | None, valid: Path | None, fraction: float, seed: int
) -> tuple[Sequence[Record], Sequence[Record]]:
    dataset = read(data)
    _tell(dataset.report)
    records = dataset.records if exclude is None else without(dataset.records, exclude)
    if valid is not None:
        held_out = read(valid)
        _tell(held_out.report)
        return records, held_out.records
    training, validation = split(records, (1.0 - fraction, fraction), seed)
    return training, validation


def _options(
    recipe: Path | None, size: str | None, start: str | None, named: Mapping[str, Any]
) -> tuple[MACEConfig | None, dict[str, Any]]:
    """Shape of the model, `None` where it is that of `start`, and training options: those of the recipe, overridden by
    what the command line names."""
    chosen = None if recipe is None else load_recipe(recipe)
    options = {} if chosen is None else chosen.train.as_dict()
    options |= {key: value for key, value in named.items() if value is not None}
    if chosen is not None and (chosen.shaped or start is None):
        return chosen.model, options
    return (None if start is not None and size is None else MACEConfig.of_size(size or "S")), options


def _tell(report: LabelReport) -> None:
    errors.print(report.as_text(), markup=False, soft_wrap=True)


def _predicted(records: Sequence[Record], loaded: api.LoadedModel) -> list[api.Predicted]:
    """What the model says of labelled frames, for pictures: of each what it is labelled with."""
    found: dict[int, api.Predicted] = {}
    wants = [tuple(n for n in ("energy", "forces", "stress") if n in record.labels) for record in records]
    for want in dict.fromkeys(wants):
        members = [i for i, own in enumerate(wants) if own == want]
        results = api.predict([records[i].system for i in members], loaded, want)
        found.update(zip(members, results, strict=True))
    return [found[i] for i in range(len(records))]


def _finished(
    title: str, folder: Path, result: TrainResult, files: Sequence[Path], report: Path | None, as_json: bool
) -> int:
    opt.leave(pages.learnt(title, result, provenance(result.potential, files=files)), report, folder)
    if as_json:
        show(result.as_dict())
    else:
        _print_errors(title, {"before": result.before, "after": result.after})
        output.print(f"Model: {result.path}\nReport: {folder / 'report.html'}", markup=False)
    for name in result.worse:
        errors.print(f"note: {name} became worse than before", style="yellow")
    return 0


def _print_errors(title: str, tables: dict[str, ErrorTable]) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("quantity", "unit", *(f"{c} {name}".strip() for c in ("RMSE", "MAE") for name in tables)):
        table.add_column(column, justify="left" if column in ("quantity", "unit") else "right")
    for row in pages.error_rows(tables):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    output.print(table)
