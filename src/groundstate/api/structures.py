"""Verbs that take structures: predict, relax, md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from torch import Tensor

from groundstate.api.sources import File, LoadedModel, Source, configured, load, systems, with_results
from groundstate.atoms import Allowances, GroundstateError, System, judge, quantity
from groundstate.data import Record
from groundstate.potentials import evaluate as derivatives
from groundstate.potentials import refuse_not_finite
from groundstate.simulation import Callback, MDConfig, MDResult, Progress, RelaxConfig, RelaxResult, run_md, silent
from groundstate.simulation import relax as relax_systems
from groundstate.simulation.evaluation import alike
from groundstate.simulation.memory import exhausted, ran_out


@dataclass(frozen=True, eq=False)
class Predicted:
    """One structure with what the model said of it, or the reason why it said nothing."""

    system: System
    values: Mapping[str, Tensor]
    problem: GroundstateError | None
    notes: tuple[str, ...]
    model: str

    def to_ase(self) -> Atoms:
        """Atoms that carry the results."""
        return with_results(self.system, self.values)

    def to_record(self) -> Record:
        """The structure with the predictions as its labels."""
        return Record(self.system, dict(self.values))


def predict(
    source: Source,
    model: Any,
    want: Sequence[str] = ("energy", "forces"),
    *,
    allow: Allowances | None = None,
    max_atoms: int = 512,
    progress: Callback = silent,
) -> list[Predicted]:
    """The wanted quantities of every structure, `max_atoms` at a time; what is refused says why and harms nobody."""
    loaded, structures = load(model), systems(source)
    for name in want:
        quantity(name)
    verdicts = [judge(single, loaded.potential.domain, allow)[0] for single in structures]
    results: dict[int, Predicted] = {}
    for i, verdict in enumerate(verdicts):
        if verdict.problems:
            results[i] = Predicted(structures[i], {}, verdict.problems[0], (), loaded.id)
    for members in alike([i for i in range(len(structures)) if i not in results], structures, max_atoms):
        for i, (values, problem) in zip(
            members, _computed([structures[i] for i in members], loaded, want), strict=True
        ):
            results[i] = Predicted(structures[i], values, problem, tuple(verdicts[i].notes), loaded.id)
        progress(Progress(len(results), len(structures), "structures"))
    return [results[i] for i in range(len(structures))]


def relax(
    source: Source,
    model: Any,
    *,
    fixed_atoms: Tensor | None = None,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[RelaxResult]:
    """Relax every structure; `options` are fields of `RelaxConfig`. See `simulation.relax`."""
    config = configured(RelaxConfig, options)
    return relax_systems(
        System.batch(systems(source)),
        load(model).potential,
        config,
        fixed_atoms=fixed_atoms,
        allow=allow,
        output=None if output is None else Path(output),
        progress=progress,
    )


def md(
    source: Source,
    model: Any,
    *,
    fixed_atoms: Tensor | None = None,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[MDResult]:
    """Molecular dynamics of every structure; `options` are fields of `MDConfig`. See `simulation.run_md`."""
    config = configured(MDConfig, options)
    return run_md(
        System.batch(systems(source)),
        load(model).potential,
        config,
        fixed_atoms=fixed_atoms,
        allow=allow,
        output=output,
        progress=progress,
    )


def _computed(
    structures: Sequence[System], loaded: LoadedModel, want: Sequence[str]
) -> list[tuple[dict[str, Tensor], GroundstateError | None]]:
    """Values or the refusal of each structure; a batch that is refused is tried one by one."""
    batch = System.batch(structures)
    found: dict[str, Tensor] | None
    try:
        found = derivatives(loaded.potential, batch, want)
        refuse_not_finite(found, batch)
    except GroundstateError as error:
        if len(structures) == 1:
            return [({}, error)]
        return [_computed([single], loaded, want)[0] for single in structures]
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        if len(structures) == 1:
            return [({}, exhausted(batch.n_atoms, error))]
        found = None
    if found is None:  # memory ran out: in halves, once the exception has let go of its tensors
        middle = len(structures) // 2
        return _computed(structures[:middle], loaded, want) + _computed(structures[middle:], loaded, want)
    ptr = batch.system_ptr.tolist()

    def of(s: int) -> dict[str, Tensor]:
        atoms = slice(ptr[s], ptr[s + 1])
        return {name: value[s if quantity(name).per == "system" else atoms] for name, value in found.items()}

    return [(of(s), None) for s in range(len(structures))]
