"""Verbs about models: convert, committee, merge, laws."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from groundstate import zoo
from groundstate.api.sources import File, LoadedModel, Source, load, systems
from groundstate.atoms import OptionError, System, nearest
from groundstate.data.writers import refuse_existing
from groundstate.laws import LawResult, examine
from groundstate.potentials import Committee, checkpoint
from groundstate.potentials.mace import merged_at


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


def merge_experts(
    model: Any,
    source: Source,
    output: File,
    *,
    charge: float | None = None,
    multiplicity: int | None = None,
    theory: str | int | None = None,
    overwrite: bool = False,
) -> LoadedModel:
    """A model file without experts, for structures of the composition of `source` alone, see `merged_at`.

    charge, multiplicity   of every structure of the source; what the structures state where not given
    theory                 label, id or number of the level; what the structures state, or the first, where not given
    """
    refuse_existing(Path(output), overwrite=overwrite)
    loaded, structures = load(model), System.batch(systems(source))
    n = structures.n_systems
    if charge is not None:
        structures = structures.replace(charge=torch.full((n,), charge, dtype=torch.float64))
    if multiplicity is not None:
        structures = structures.replace(multiplicity=torch.full((n,), multiplicity))
    if theory is not None:
        structures = structures.replace(theory=torch.full((n,), _level(loaded, theory)))
    merged = merged_at(loaded.potential, structures)
    checkpoint.save(merged, output, notes={"merged": {"of": loaded.id}})
    return load(output)


def committee(models: Sequence[Any], output: File, *, overwrite: bool = False) -> LoadedModel:
    """A model file of several models of the same elements and levels of theory: their mean, see `Committee`."""
    refuse_existing(Path(output), overwrite=overwrite)
    members = [load(model) for model in models]
    checkpoint.save(Committee([one.potential for one in members]), output, notes={"members": [m.id for m in members]})
    return load(output)


def _level(loaded: LoadedModel, theory: str | int) -> int:
    """Its number among those of the model; of levels without names by number alone."""
    levels = loaded.potential.theories
    names = {level.label: i for i, level in enumerate(levels)} | {level.id: i for i, level in enumerate(levels)}
    numbers = {str(i): i for i in range(loaded.potential.domain.theories)}
    found = (numbers | names).get(str(theory))
    if found is None:
        raise OptionError(
            "E-THEORY-UNKNOWN",
            f"the model {loaded.id} has no level of theory '{theory}'",
            fix=nearest(str(theory), names or numbers),
        )
    return found


def laws(model: Any, **options: Any) -> list[LawResult]:
    """Which laws of physics a model keeps; `options` of `laws.examine`."""
    return examine(load(model).potential, **options)
