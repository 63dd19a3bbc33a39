"""Verbs about models: convert, laws."""

from pathlib import Path
from typing import Any

from groundstate import zoo
from groundstate.api.sources import File, LoadedModel, load
from groundstate.atoms import OptionError, nearest
from groundstate.laws import LawResult, examine


def convert(
    family: str,
    file: File,
    output: File,
    *,
    trust_pickle: bool = False,
    python: str | None = None,
    precision: str | None = None,
    radial_knots: int | None = None,
    timeout: float = 600.0,
    overwrite: bool = False,
) -> LoadedModel:
    """A model file of ours from a checkpoint of another package; `family` "mace": see `zoo.mace.convert`."""
    if family not in zoo.CONVERTERS:
        raise OptionError(
            "E-MODEL-FAMILY", f"no files of '{family}' are converted", fix=nearest(family, zoo.CONVERTERS)
        )
    zoo.CONVERTERS[family](
        Path(file),
        Path(output),
        trust_pickle=trust_pickle,
        python=python,
        precision=precision,
        radial_knots=radial_knots,
        timeout=timeout,
        overwrite=overwrite,
    )
    return load(output)


def laws(model: Any, **options: Any) -> list[LawResult]:
    """Which laws of physics a model keeps; `options` of `laws.examine`."""
    return examine(load(model).potential, **options)
