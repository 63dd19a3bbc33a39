"""The same verbs as the command line, in Python: files, ASE atoms or systems in, results out.

>>> import groundstate as gs
>>> model = gs.load("chgnet")
>>> for result in gs.relax(["MgO.cif", "SrTiO3.cif"], model, cell="full"):
...     print(result.status, result.energy)

`source` is a path, an `ase.Atoms`, a `System`, or a list of any of them; `model` a name, a path or a loaded model.
Options are those of `RelaxConfig`, `MDConfig` and `TrainConfig`. One bad structure gets its reason, the others their
result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from groundstate import zoo
from groundstate.atoms import Allowances, GroundstateError, OptionError, System, judge, nearest, quantity
from groundstate.data import Record, from_ase, read, to_ase
from groundstate.laws import LawResult, examine
from groundstate.potentials import Potential, refuse_not_finite
from groundstate.potentials import evaluate as derivatives
from groundstate.potentials.adapters import Calculator
from groundstate.potentials.mace import MACEConfig
from groundstate.simulation import Callback, MDConfig, MDResult, Progress, RelaxConfig, RelaxResult, run_md, silent
from groundstate.simulation import relax as relax_systems
from groundstate.training import ErrorTable, TrainConfig, TrainResult, evaluate_errors, train_from_scratch
from groundstate.training import finetune as finetune_records

File: TypeAlias = str | Path
Source: TypeAlias = str | Path | Atoms | System | Sequence[Any]

__all__ = [
    "LoadedModel",
    "Predicted",
    "convert",
    "evaluate",
    "finetune",
    "laws",
    "load",
    "md",
    "predict",
    "read",
    "relax",
    "systems",
    "train",
    "with_results",
]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A potential and the immutable id its results are recorded under."""

    potential: Potential
    id: str

    def calculator(self, **options: Any) -> Calculator:
        """An ASE calculator."""
        return Calculator(self.potential, **options)


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


def load(model: "File | Potential | LoadedModel") -> LoadedModel:
    """A public model by name, or a model file by path; names resolve to an immutable id, an unknown one is refused."""
    if isinstance(model, LoadedModel):
        return model
    potential = model if isinstance(model, Potential) else zoo.load(model)
    return LoadedModel(potential, potential.fingerprint())


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


def systems(source: Source) -> list[System]:
    """Every structure of a source, one `System` each."""
    if isinstance(source, str | Path):
        return [record.system for record in read(source).records]
    if isinstance(source, Atoms):
        return [from_ase(source)]
    if isinstance(source, System):
        return list(source)
    return [single for part in source for single in systems(part)]


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
    for members in _packed([i for i in range(len(structures)) if i not in results], structures, max_atoms):
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
    config = _configured(RelaxConfig, options)
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
    config = _configured(MDConfig, options)
    return run_md(
        System.batch(systems(source)),
        load(model).potential,
        config,
        fixed_atoms=fixed_atoms,
        allow=allow,
        output=output,
        progress=progress,
    )


def evaluate(source: File | Sequence[Record], model: Any) -> ErrorTable:
    """Errors of a model on labelled structures."""
    return evaluate_errors(load(model).potential, _records(source))


def laws(model: Any, **options: Any) -> list[LawResult]:
    """Which laws of physics a model keeps; `options` of `laws.examine`."""
    return examine(load(model).potential, **options)


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
        _configured(TrainConfig, options),
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
        _configured(TrainConfig, options),
        output,
        model=model,
        progress=progress,
        overwrite=overwrite,
    )


def with_results(system: System, values: Mapping[str, Tensor]) -> Atoms:
    """ASE atoms that carry energy (eV), forces (eV/Å) and stress (Voigt, eV/Å³) as a finished calculation."""
    (atoms,) = to_ase(system)
    given = {
        name: values[name].detach().cpu().double().numpy() for name in ("energy", "forces", "stress") if name in values
    }
    results: dict[str, Any] = dict(given)
    if "energy" in given:
        results["energy"] = float(given["energy"])
    if "stress" in given:
        results["stress"] = full_3x3_to_voigt_6_stress(given["stress"])
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _records(source: File | Sequence[Record]) -> Sequence[Record]:
    return read(source).records if isinstance(source, str | Path) else source


def _configured(kind: Any, options: Mapping[str, Any]) -> Any:
    """A configuration from keyword options; a name it does not have is answered with the nearest."""
    known = [f.name for f in fields(kind)]
    for name in options:
        if name not in known:
            raise OptionError("E-OPTION", f"there is no option '{name}'", fix=nearest(name, known))
    return kind(**options)


def _packed(members: Sequence[int], structures: Sequence[System], max_atoms: int) -> list[list[int]]:
    """Neighbours in the list computed together while they state the same conditions and the batch is not too large."""
    batches: list[list[int]] = []
    given: tuple[bool, ...] | None = None
    atoms = 0
    for i in members:
        one = structures[i]
        stated = tuple(
            value is not None for value in (one.charge, one.multiplicity, one.theory, one.moments, one.field)
        )
        if stated != given or atoms + one.n_atoms > max_atoms:
            batches.append([])
            given, atoms = stated, 0
        batches[-1].append(i)
        atoms += one.n_atoms
    return batches


def _computed(
    structures: Sequence[System], loaded: LoadedModel, want: Sequence[str]
) -> list[tuple[dict[str, Tensor], GroundstateError | None]]:
    """Values or the refusal of each structure; a batch that is refused is tried one by one."""
    batch = System.batch(structures)
    try:
        found = derivatives(loaded.potential, batch, want)
        refuse_not_finite(found, batch)
    except GroundstateError as error:
        if len(structures) == 1:
            return [({}, error)]
        return [_computed([single], loaded, want)[0] for single in structures]
    ptr = batch.system_ptr.tolist()

    def of(s: int) -> dict[str, Tensor]:
        atoms = slice(ptr[s], ptr[s + 1])
        return {name: value[s if quantity(name).per == "system" else atoms] for name, value in found.items()}

    return [(of(s), None) for s in range(len(structures))]
