"""Several models on a user's own structures: where they agree, where they do not, where nothing can be said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from groundstate.api.sources import LoadedModel, Source, load, systems
from groundstate.api.structures import predict
from groundstate.api.ways import has_volume
from groundstate.atoms import Allowances, DataError, OptionError, System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.data import Record, composition, read
from groundstate.simulation import Callback, silent

LABELS = "labels"
"""Name under which the labels of a file take part, beside the models."""


@dataclass(frozen=True, eq=False)
class Said:
    """What one model (or the labels) says of one structure.

    energy eV · forces eV/Å · pressure_GPa = −tr σ/3 · relative: energy per atom above the lowest structure of this
    composition, eV/atom, for which this model's zero of energy does not matter; `None` where a composition occurs once
    refusal   why there is nothing
    """

    energy: float | None = None
    forces: Tensor | None = None
    pressure_GPa: float | None = None
    relative: float | None = None
    refusal: str = ""


@dataclass(frozen=True)
class Disagreement:
    """Two models over the structures both answered (`structures`).

    force_rmse, force_max   eV/Å, of components · worst: index of the structure with the largest RMSE
    pressure_rmse_GPa       over those with a volume
    relative_rmse, relative_max   eV/atom, of energies within compositions, the mean difference of each taken out
    rank    Spearman's correlation of the energies within compositions, mean over compositions weighted by their size
    Absolute energies are not here: two models of different theory have different zeros, which mean nothing.
    """

    first: str
    second: str
    structures: int
    force_rmse: float | None
    force_max: float | None
    worst: int | None
    pressure_rmse_GPa: float | None
    relative_rmse: float | None
    relative_max: float | None
    rank: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """All models on all structures.

    models   short name → immutable id, in the order given; `labels` last where the file has some
    said     name → one `Said` per structure
    spread   per structure: the largest force RMSE between any two that answered, eV/Å; `None` with fewer than two
    """

    models: Mapping[str, str]
    theories: Mapping[str, str]
    structures: Sequence[System]
    compositions: Sequence[str]
    said: Mapping[str, Sequence[Said]]
    pairs: Sequence[Disagreement]
    spread: Sequence[float | None]

    def most_contested(self, count: int = 3) -> list[int]:
        """Structures with the largest disagreement, the largest first."""
        known = [(spread, i) for i, spread in enumerate(self.spread) if spread is not None]
        return [i for _, i in sorted(known, reverse=True)[:count]]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "models": dict(self.models),
            "theories": dict(self.theories),
            "pairs": [vars(pair) for pair in self.pairs],
            "structures": [
                {
                    "composition": self.compositions[i],
                    "force_spread": self.spread[i],
                    "said": {name: _plain(answers[i]) for name, answers in self.said.items()},
                }
                for i in range(len(self.structures))
            ],
        }


def compare(
    source: Source | Sequence[Record],
    models: Sequence[Any],
    *,
    labels: bool = True,
    allow: Allowances | None = None,
    progress: Callback = silent,
) -> Comparison:
    """Ask every model about every structure; `labels`: those of the file take part like a further model.

    A model that does not know a structure says so for that structure and takes part with the others. Raises OptionError
    with fewer than two to compare. Checked: tests/api/test_compare.py
    """
    records = _records(source)
    if not records:
        raise DataError("E-NO-FRAMES", "there is no structure to compare models on", fix="check the source")
    loaded = _named([load(model) for model in models], models)
    labelled = labels and any("forces" in record.labels or "energy" in record.labels for record in records)
    if len(loaded) + labelled < 2:
        raise OptionError("E-COMPARE-ONE", "a comparison needs two models, or one and labels", fix="name more models")
    structures = [record.system for record in records]
    said = {name: _asked(model, structures, allow, progress) for name, model in loaded.items()}
    theories = {name: "; ".join(t.label for t in model.potential.theories) for name, model in loaded.items()}
    if labelled:
        levels = {record.theory for record in records if record.theory is not None}
        said[LABELS] = [_from_labels(record, energies=len(levels) < 2) for record in records]
        theories[LABELS] = "; ".join(sorted(level.label for level in levels))
    compositions = [composition(one) for one in structures]
    said = {name: _relative(answers, structures, compositions) for name, answers in said.items()}
    pairs = [_disagreement(one, other, said, structures, compositions) for one, other in combinations(said, 2)]
    spread = [_spread([answers[i] for answers in said.values()]) for i in range(len(structures))]
    ids = {name: model.id for name, model in loaded.items()} | ({LABELS: "of the file"} if labelled else {})
    return Comparison(ids, theories, structures, compositions, said, pairs, spread)


def _records(source: Source | Record | Sequence[Record]) -> list[Record]:
    if isinstance(source, str | Path):
        return list(read(source, missing="mask").records)
    if isinstance(source, Record):
        return [source]
    if isinstance(source, Atoms | System):
        return [Record(one) for one in systems(source)]
    return [record for part in source for record in _records(part)]


def _named(loaded: Sequence[LoadedModel], given: Sequence[Any]) -> dict[str, LoadedModel]:
    """Short names for people: what was asked for where it was asked for by name, else the id; told apart by number."""
    named: dict[str, LoadedModel] = {}
    for model, asked in zip(loaded, given, strict=True):
        name = str(asked).rsplit("/", 1)[-1].removesuffix(".safetensors") if isinstance(asked, str) else model.id
        same = sum(other == name or other.startswith(f"{name} (") for other in named)
        named[f"{name} ({same + 1})" if same else name] = model
    return named


def _asked(
    model: LoadedModel, structures: Sequence[System], allow: Allowances | None, progress: Callback
) -> list[Said]:
    found: dict[int, Said] = {}
    for stressed in (True, False):
        members = [i for i, one in enumerate(structures) if has_volume(one) == stressed]
        want = ("energy", "forces", "stress") if stressed else ("energy", "forces")
        results = (
            predict([structures[i] for i in members], model, want, allow=allow, progress=progress) if members else []
        )
        for i, result in zip(members, results, strict=True):
            found[i] = Said(refusal=str(result.problem)) if result.problem else _said(result.values)
    return [found[i] for i in range(len(structures))]


def _said(values: Mapping[str, Tensor]) -> Said:
    return Said(
        energy=float(values["energy"]) if "energy" in values else None,
        forces=values["forces"].to("cpu", torch.float64) if "forces" in values else None,
        pressure_GPa=-float(torch.trace(values["stress"])) / 3 / GIGAPASCAL if "stress" in values else None,
    )


def _from_labels(record: Record, *, energies: bool) -> Said:
    """Energies only where all labels are of one level of theory: those of two do not mix."""
    kept = {name: value for name, value in record.labels.items() if energies or name != "energy"}
    return _said(kept) if kept else Said(refusal="this frame has no labels to compare with")


def _relative(answers: Sequence[Said], structures: Sequence[System], compositions: Sequence[str]) -> list[Said]:
    """With energies per atom above the lowest of each composition, as far as this model answered."""
    per_atom = [
        None if said.energy is None else said.energy / one.n_atoms
        for said, one in zip(answers, structures, strict=True)
    ]
    members: dict[str, list[float]] = {}
    for name, energy in zip(compositions, per_atom, strict=True):
        if energy is not None:
            members.setdefault(name, []).append(energy)
    return [
        Said(
            said.energy,
            said.forces,
            said.pressure_GPa,
            None if energy is None or len(members[name]) < 2 else energy - min(members[name]),
            said.refusal,
        )
        for said, name, energy in zip(answers, compositions, per_atom, strict=True)
    ]


def _disagreement(
    first: str,
    second: str,
    said: Mapping[str, Sequence[Said]],
    structures: Sequence[System],
    compositions: Sequence[str],
) -> Disagreement:
    one, other = said[first], said[second]
    forces = {
        i: a.forces - b.forces
        for i, (a, b) in enumerate(zip(one, other, strict=True))
        if a.forces is not None and b.forces is not None
    }
    every = torch.cat([difference.reshape(-1) for difference in forces.values()]) if forces else None
    pressures = [
        a.pressure_GPa - b.pressure_GPa
        for a, b in zip(one, other, strict=True)
        if a.pressure_GPa is not None and b.pressure_GPa is not None
    ]
    energies = _energies_within(one, other, structures, compositions)
    centred = np.concatenate([(a - a.mean()) - (b - b.mean()) for a, b in energies]) if energies else None
    both = [i for i in range(len(one)) if not one[i].refusal and not other[i].refusal]
    return Disagreement(
        first,
        second,
        structures=len(both),
        force_rmse=None if every is None else float(every.square().mean().sqrt()),
        force_max=None if every is None else float(every.abs().max()),
        worst=max(forces, key=lambda i: float(forces[i].square().mean())) if forces else None,
        pressure_rmse_GPa=float(np.sqrt(np.mean(np.square(pressures)))) if pressures else None,
        relative_rmse=None if centred is None else float(np.sqrt(np.mean(centred**2))),
        relative_max=None if centred is None else float(np.abs(centred).max()),
        rank=_rank(energies),
    )


def _energies_within(
    one: Sequence[Said], other: Sequence[Said], structures: Sequence[System], compositions: Sequence[str]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Energies per atom of both, a pair of arrays for each composition that both answered more than once."""
    members: dict[str, list[tuple[float, float]]] = {}
    for a, b, system, name in zip(one, other, structures, compositions, strict=True):
        if a.energy is not None and b.energy is not None:
            members.setdefault(name, []).append((a.energy / system.n_atoms, b.energy / system.n_atoms))
    return [(np.array(pairs)[:, 0], np.array(pairs)[:, 1]) for pairs in members.values() if len(pairs) > 1]


def _rank(energies: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float | None:
    """Spearman's ρ within compositions of three and more; `None` where there is none or all are degenerate."""
    weighted = []
    for a, b in energies:
        ranks = np.stack([_ranks(a), _ranks(b)])
        if len(a) > 2 and bool((np.ptp(ranks, axis=1) > 0).all()):
            weighted.append((float(np.asarray(np.corrcoef(ranks))[0, 1]), len(a)))
    total = sum(n for _, n in weighted)
    return sum(rho * n for rho, n in weighted) / total if total else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places in ascending order; ties share their mean place."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _spread(answers: Sequence[Said]) -> float | None:
    forces = [said.forces for said in answers if said.forces is not None]
    between = [float((a - b).square().mean().sqrt()) for a, b in combinations(forces, 2)]
    return max(between, default=None)


def _plain(said: Said) -> dict[str, Any]:
    largest = None if said.forces is None else float(torch.linalg.vector_norm(said.forces, dim=1).max())
    return {
        "energy": said.energy,
        "relative_energy_per_atom": said.relative,
        "largest_force": largest,
        "pressure_GPa": said.pressure_GPa,
        "forces": None if said.forces is None else said.forces.tolist(),
        "refusal": said.refusal,
    }
