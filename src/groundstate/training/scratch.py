"""A model of our own from labels alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from groundstate.atoms import LevelOfTheory, find_neighbours
from groundstate.data import Record, atom_counts, chosen
from groundstate.potentials import Model
from groundstate.potentials.mace import MACEConfig, build
from groundstate.training.config import TrainConfig
from groundstate.training.identity import theories_of
from groundstate.training.result import TrainResult
from groundstate.training.runs import train
from groundstate.training.theories import AtLevels, levels_of, names_of, references_by_level, references_of

_ENOUGH = 200
"""Frames from which the mean number of neighbours is taken; more would not change its second digit."""
_ENOUGH_FORCES = 10_000
"""Frames from which the scale of the forces is taken, likewise."""
_UNTRAINED_OFFSET = 20.0
"""eV/atom, above the cohesive energy of every element: isolated atoms as references leave that to the network, and a
random network adds its own. Foreign references are refused before, by `fit_reference_energies`."""


def train_from_scratch(
    train_records: Sequence[Record],
    valid_records: Sequence[Record],
    model_config: MACEConfig,
    train_config: TrainConfig,
    output_dir: str | os.PathLike[str],
    *,
    progress: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Build a MACE for these data and train it.

    Reference energies are those of isolated atoms where the training frames hold one of each element (an atom without
    neighbours within the cutoff), so that dissociation ends at them; else they are fitted to the energies, which is
    quicker to learn. Frames of several levels of theory share the trunk; each level has reference energies and a
    read-out of its own. Checked: tests/training/test_scratch.py, test_theories.py
    """
    levels = levels_of(train_records)
    cutoff, several = model_config.cutoff, len(levels) > 1
    taught, judged = (AtLevels(r, levels) if several else r for r in (train_records, valid_records))
    alone = _isolated(taught, cutoff)
    bonded = chosen(taught, sorted({*range(len(taught))} - {*alone})) if alone else taught
    references = (
        references_by_level(bonded, train_records, levels, cutoff)
        if several
        else [references_of(bonded, train_records, cutoff)]
    )
    energies = [own.energies for own in references]
    potential = build_at(bonded, model_config, energies, levels, train_config.seed)
    told = dict(zip(names_of(levels), (own.as_dict() for own in references), strict=True)) if several else None
    return train(
        potential,
        bonded,
        judged,
        untrained(train_config),
        output_dir,
        notes={"references": told or references[0].as_dict()},
        progress=progress,
        overwrite=overwrite,
    )


def build_for(
    records: Sequence[Record], config: MACEConfig, references: Mapping[int, float], seed: int, *, zbl: bool = True
) -> Model:
    """An untrained model of one level of theory in the scale of these data, see `build_at`."""
    theories = tuple(theories_of(records).values())
    return build_at(records, config, [references], theories if len(theories) == 1 else (), seed, zbl=zbl)


def build_at(
    records: Sequence[Record],
    config: MACEConfig,
    references: Sequence[Mapping[int, float]],
    theories: Sequence[LevelOfTheory],
    seed: int,
    *,
    zbl: bool = True,
) -> Model:
    """An untrained model in the scale of these data: its unit of energy is the root mean square force × 1 Å, and sums
    over neighbours are divided by their mean number.

    references: eV per element, one mapping for each level of theory · zbl: with its own nuclear repulsion
    """
    some = records[:: max(1, len(records) // _ENOUGH_FORCES)]
    forces = [record.labels["forces"].reshape(-1) for record in some if "forces" in record.labels]
    rms = float(torch.cat(forces).square().mean().sqrt()) if forces else 0.0
    return build(
        replace(config, scale=rms or 1.0, average_neighbours=mean_neighbours(records, config.cutoff)),
        elements=sorted({z for energies in references for z in energies}),
        reference_energies=references,
        theories=theories,
        zbl=zbl,
        seed=seed,
    )


def untrained(config: TrainConfig) -> TrainConfig:
    """The options for a network whose energies mean nothing yet."""
    return replace(config, largest_offset=max(config.largest_offset, _UNTRAINED_OFFSET))


def mean_neighbours(records: Sequence[Record], cutoff: float) -> float:
    """Neighbours per atom within `cutoff` (Å), at least 1."""
    chosen = records[:: max(1, len(records) // _ENOUGH)]
    edges = sum(find_neighbours(record.system, cutoff).n_edges for record in chosen)
    return max(1.0, edges / sum(record.n_atoms for record in chosen))


def _isolated(records: Sequence[Record], cutoff: float) -> list[int]:
    """Indices of the records that are one atom without a neighbour."""
    single = [i for i, n_atoms in enumerate(atom_counts(records)) if n_atoms == 1]
    return [i for i in single if find_neighbours(records[i].system, cutoff).n_edges == 0]
