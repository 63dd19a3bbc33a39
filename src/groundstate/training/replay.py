"""Replay: structures on which a tuned model shall still say what its base said.

Their labels are predictions of the base, so nothing needs to be downloaded: Shin et al., NeurIPS 2017
(arXiv:1705.08690); for potentials, multihead replay of MACE. They come from a file, or are those that the base
remembers from its training; for a base that remembers none they are made on the spot: strained and rattled prototypes
of all elements that the base knows, and the taught structures with other elements in them.
Structures of exactly the taught elements are never made: there the labels, not the base, are right.
"""

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from math import ceil

import torch
from torch import Tensor

from groundstate.atoms import DataError, Geometry, System, find_neighbours, judge
from groundstate.atoms.elements import element
from groundstate.data import Provenance, Record, fingerprint
from groundstate.laws.specimens import prepared
from groundstate.potentials import Potential
from groundstate.training.base_labels import BaseLabels
from groundstate.training.config import TrainConfig
from groundstate.training.finetune_config import FinetuneConfig

CLOSEST, WIDEST = 0.95, 1.2
"""Shortest distance of a made structure, in sums of covalent radii: most solids have their bonds within."""
STRAIN, RATTLE = 0.03, 0.04
"""Standard deviations: of the components of the strain; of displacements, in shortest distances."""
LARGEST_FORCE = 20.0
"""eV/Å; a structure with a larger one is outside of what any base was taught, and is dropped."""
_MOST_ATOMS = 64
"""Of taught structures that other elements are put into: replay must not cost more than the teaching."""
_HELD_OUT, _FEWEST = 0.2, 5
_KNOWN_FROM, _KNOWN_TO = 1, 94


@dataclass(frozen=True, eq=False)
class Replay:
    """Structures to learn from, others to judge by, and where they come from; their labels are the base's.

    labelled   those to judge by with the labels of their file, where it has any: errors of the base itself then exist
    """

    taught: list[Record]
    judged: list[Record]
    labelled: list[Record]
    source: str


NO_REPLAY = Replay([], [], [], "none")


def made_structures(
    base: Potential, records: Sequence[Record], count: int, seed: int, elements: Sequence[int] | None = None
) -> list[System]:
    """`count` structures of these elements (all of the base by default), or fewer where there are no others.

    Half of them hold at least one taught element, so that its surroundings by others are kept as well. From molecules
    only molecules are made.
    """
    generator = torch.Generator().manual_seed(seed)
    taught = {frozenset(record.system.numbers.tolist()) for record in records}
    mine = sorted(frozenset().union(*taught))
    known = sorted(elements or base.domain.elements or range(_KNOWN_FROM, _KNOWN_TO + 1))
    patterns = [record.system for record in records if record.n_atoms <= _MOST_ATOMS]
    molecular = not any(bool(record.system.pbc.any()) for record in records)
    found: list[System] = []
    for attempt in range(20 * count):
        if len(found) == count:
            break
        substitutes = patterns and (molecular or attempt % 5 == 4)
        pattern = patterns[_whole(len(patterns), generator)] if substitutes else None
        slots = len(pattern.numbers.unique()) if pattern is not None else 1 + _whole(3, generator)
        if len(known) < slots:
            continue
        chosen = [known[i] for i in torch.randperm(len(known), generator=generator)[:slots].tolist()]
        if attempt % 2 and not set(chosen) & set(mine):
            chosen[_whole(slots, generator)] = mine[_whole(len(mine), generator)]
        if frozenset(chosen) in taught:
            continue
        made = _prototype(chosen, generator) if pattern is None else _substituted(pattern, chosen)
        system = prepared(base, _distorted(made, generator))
        if base.domain.theories > 1:
            system = system.replace(theory=torch.tensor([attempt % base.domain.theories]))
        if not judge(system, base.domain)[0].problems:
            found.append(system)
    return found


def prepare(
    base: Potential,
    records: Sequence[Record],
    plan: FinetuneConfig,
    known: BaseLabels,
    names: Collection[str],
    seed: int,
    *,
    given: Sequence[Record] | None = None,
    elements: Sequence[int] | None = None,
) -> Replay:
    """The replay of a plan: of the given structures, or of those the base remembers, or made on the spot.

    names     quantities to keep · elements: all that a correction is taught; those of the base when `None`
    Raises DataError where given structures are too few.
    """
    # A correction that is not taught the other elements will not know them, and has nothing to forget of them.
    limit = set(elements) if elements is not None and plan.replay_share == 0 else None
    offered = as_records(list(base.remembered or ())) if given is None else given
    pool = _usable(base, records, offered, limit)
    source = f"{'remembered' if given is None else 'given'}: {len(offered)} structures"
    if len(pool) < _FEWEST:
        if given is not None:
            raise DataError(
                "E-REPLAY-EMPTY",
                f"{len(pool)} of {len(given)} structures can be replayed",
                why="the others are refused by the base, or are among those that are taught or validated on",
                fix="give more structures of elements the base knows, or leave the file out",
            )
        pool = as_records(made_structures(base, records, plan.replay_frames, seed, elements))
        source = "made: strained prototypes and substituted structures"
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed)).tolist()[: plan.replay_frames]
    chosen = [pool[i] for i in order if "stress" not in names or bool(pool[i].system.pbc.any())]
    pairs = zip(known.pseudo_labelled(chosen, sorted({*names, "energy", "forces"})), chosen, strict=True)
    sober = [pair for pair in pairs if float(pair[0].labels["forces"].abs().max()) <= LARGEST_FORCE]
    n = round(_HELD_OUT * len(sober))
    taught = [said for said, _ in sober[n:]] if plan.replay_share > 0 else []
    labelled = [own for _, own in sober[:n] if "forces" in own.labels]
    return Replay(taught, [said for said, _ in sober[:n]], labelled, source)


def _usable(
    base: Potential, records: Sequence[Record], given: Sequence[Record], elements: set[int] | None
) -> list[Record]:
    """Those of these elements that the base's contract takes and that are not being taught."""
    taught = {fingerprint(record.system) for record in records}
    known = [r for r in given if elements is None or set(r.system.numbers.tolist()) <= elements]
    fresh = [record for record in known if fingerprint(record.system) not in taught]
    return [record for record in fresh if not judge(record.system, base.domain)[0].problems]


def mixture(target: Sequence[Record], replay: Sequence[Record], share: float, at_most: int) -> tuple[list[Record], int]:
    """Both in one list of which `share` is replay, and how often it repeats the target, at most `at_most` times.

    As many replay structures are used as that allows, so that they are as different as can be.
    """
    times = min(at_most, max(1, round(len(replay) * (1 - share) / (share * len(target)))))
    wanted = ceil(times * len(target) * share / (1 - share))
    return [*target] * times + [replay[i % len(replay)] for i in range(wanted)], times


def stretched(config: TrainConfig, times: int) -> TrainConfig:
    """The options for a list that repeats the target: as many passes over the target as before."""
    patience = config.patience and ceil(config.patience / times)
    epochs, warmup = max(1, round(config.epochs / times)), config.warmup_epochs / times
    plateau = ceil(config.plateau_patience / times)
    return replace(config, epochs=epochs, warmup_epochs=warmup, patience=patience, plateau_patience=plateau)


def as_records(systems: Sequence[System]) -> list[Record]:
    """Structures without labels."""
    return [Record(system, provenance=Provenance("made for replay", i)) for i, system in enumerate(systems)]


@cache
def _prototypes() -> tuple[tuple[Tensor, Tensor, tuple[int, ...]], ...]:
    table = tomllib.loads(files("groundstate.training").joinpath("prototypes.toml").read_text(encoding="utf-8"))
    rows = []
    for row in table.values():
        sites = torch.tensor(row["sites"], dtype=torch.float64)
        rows.append((torch.tensor(row["cell"], dtype=torch.float64), sites[:, 1:], tuple(sites[:, 0].int().tolist())))
    return tuple(rows)


def _prototype(elements: Sequence[int], generator: torch.Generator) -> System:
    """A crystal of these elements, twice as long along one of its vectors, so that its atoms can be rattled."""
    fitting = [row for row in _prototypes() if max(row[2]) + 1 == len(elements)]
    cell, fractions, slots = fitting[_whole(len(fitting), generator)]
    numbers = torch.tensor([elements[slot] for slot in slots])
    positions = fractions @ cell
    along = _whole(3, generator)
    doubled = torch.cat([positions, positions + cell[along]])
    longer = cell.clone()
    longer[along] *= 2
    return System.single(4.0 * doubled, numbers.repeat(2), cell=4.0 * longer, pbc=True)


def _substituted(pattern: System, elements: Sequence[int]) -> System:
    """The structure with its elements replaced one by one."""
    numbers = pattern.numbers.clone()
    for old, new in zip(pattern.numbers.unique().tolist(), elements, strict=True):
        numbers[pattern.numbers == old] = new
    return System.single(pattern.positions, numbers, cell=pattern.cell[0], pbc=pattern.pbc[0])


def _distorted(system: System, generator: torch.Generator) -> System:
    """Strained, rattled, and scaled to a shortest distance within the limits."""
    strain = torch.eye(3, dtype=torch.float64) + STRAIN * torch.randn(3, 3, dtype=torch.float64, generator=generator)
    reach = CLOSEST + (WIDEST - CLOSEST) * float(torch.rand((), generator=generator))
    scale = reach / _contact(system)
    noise = torch.randn(system.n_atoms, 3, dtype=torch.float64, generator=generator)
    bond = reach * 2 * min(element(z).covalent_radius for z in system.numbers.tolist())
    positions = (scale * system.positions + RATTLE * bond * noise) @ strain
    return system.replace(positions=positions, cell=scale * system.cell @ strain)


def _contact(system: System) -> float:
    """The shortest distance in sums of covalent radii."""
    radii = torch.tensor([element(z).covalent_radius for z in system.numbers.tolist()], dtype=torch.float64)
    cutoff = 4.0
    while True:
        edges = Geometry(system, find_neighbours(system, cutoff)).edges(cutoff)
        if len(edges.distances):
            return float((edges.distances / (radii[edges.receivers] + radii[edges.senders])).min())
        cutoff *= 1.5


def _whole(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))
