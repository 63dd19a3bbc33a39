"""A model of our own from labels alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from groundstate.atoms import find_neighbours
from groundstate.atoms.elements import symbols
from groundstate.data import Record, check_reference_energies, fit_reference_energies
from groundstate.potentials import Model
from groundstate.potentials.mace import MACEConfig, build
from groundstate.training.config import TrainConfig
from groundstate.training.identity import theories_of
from groundstate.training.result import TrainResult
from groundstate.training.runs import train

_ENOUGH = 200
"""Frames from which the mean number of neighbours is taken; more would not change its second digit."""
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
    quicker to learn. Checked: tests/training/test_scratch.py
    """
    isolated = {
        int(record.system.numbers[0]): float(record.labels["energy"])
        for record in train_records
        if _is_isolated(record, model_config.cutoff) and "energy" in record.labels
    }
    bonded = [record for record in train_records if not _is_isolated(record, model_config.cutoff)]
    elements = {int(z) for record in bonded for z in record.system.numbers.unique()}
    if elements and elements <= isolated.keys():
        check_reference_energies(bonded, isolated, of_atoms=True)
        references, note = isolated, "energies of isolated atoms among the training frames"
    else:
        fit = fit_reference_energies(bonded)
        references, note = fit.energies, fit.note
    potential = build_for(bonded, model_config, references, train_config.seed)
    train_config = untrained(train_config)
    named = dict(zip(symbols(sorted(references)), (references[z] for z in sorted(references)), strict=True))
    return train(
        potential,
        bonded,
        valid_records,
        train_config,
        output_dir,
        notes={"references": {"energies_eV": named, "note": note}},
        progress=progress,
        overwrite=overwrite,
    )


def build_for(
    records: Sequence[Record], config: MACEConfig, references: Mapping[int, float], seed: int, *, zbl: bool = True
) -> Model:
    """An untrained model in the scale of these data: its unit of energy is the root mean square force × 1 Å, and sums
    over neighbours are divided by their mean number. `zbl`: with its own nuclear repulsion."""
    forces = [record.labels["forces"].reshape(-1) for record in records if "forces" in record.labels]
    rms = float(torch.cat(forces).square().mean().sqrt()) if forces else 0.0
    theories = tuple(theories_of(records).values())
    return build(
        replace(config, scale=rms or 1.0, average_neighbours=mean_neighbours(records, config.cutoff)),
        elements=tuple(sorted(references)),
        reference_energies=[references],
        theories=theories if len(theories) == 1 else (),
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


def _is_isolated(record: Record, cutoff: float) -> bool:
    return record.n_atoms == 1 and find_neighbours(record.system, cutoff).n_edges == 0
