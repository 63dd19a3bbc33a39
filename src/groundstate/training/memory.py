"""How much memory the largest batch of a run will take, told before its first step.

A step holds what its two derivatives need, several times what an evaluation holds, so it is a step that is probed: on
pieces of the largest and the densest of some structures, as `simulation.memory` does. Checked:
tests/training/test_training_memory.py
"""

from collections.abc import Sequence

import numpy as np
import torch

from groundstate.atoms import RunError, System, quantity
from groundstate.data import Batch, Record, atom_counts, chosen
from groundstate.equivariant.operators import derivatives
from groundstate.potentials import Potential
from groundstate.simulation.memory import PLENTY, SHARE, available, cost_of
from groundstate.training.aims import Aim
from groundstate.training.config import TrainConfig

PLENTY_TO_TRAIN = 8 * PLENTY
"""Bytes per atom that a step of no known model takes: where there is as much, nothing is probed."""
_PROBED = 20
"""Structures among which the largest and the densest are looked for, evenly spaced by size."""


def largest_batch(records: Sequence[Record], config: TrainConfig) -> int:
    """Atoms of the largest batch that a shuffle can make."""
    counts = np.asarray(atom_counts(records))
    if config.max_atoms is not None:
        return max(config.max_atoms, int(counts.max()))
    size = min(config.batch_size, len(counts))
    return int(np.partition(counts, len(counts) - size)[-size:].sum())


def refuse_too_large(
    potential: Potential, aim: Aim, records: Sequence[Record], config: TrainConfig, device: torch.device
) -> str:
    """One line on the memory the run needs; RunError E-MEMORY-FORECAST where its largest batch will not fit.

    Nothing is refused where the system does not tell its memory, or the probe sees nothing.
    """
    free, atoms = available(device), largest_batch(records, config)
    if free is None or not aim.requires:
        return f"largest batch: {atoms} atoms; memory unknown"
    have = f"{free / 1e9:.3g} GB available"
    if PLENTY_TO_TRAIN * atoms <= free:
        return f"largest batch: {atoms} atoms; {have}, enough whatever the model"
    order = np.argsort(atom_counts(records), kind="stable")
    some = order[np.linspace(0, len(order) - 1, min(_PROBED, len(order))).astype(int)]
    system = System.batch([_bare(record.system) for record in chosen(records, some.tolist())]).to(device)
    cost = cost_of(lambda batch: _step(potential, aim, batch), system, potential.cutoff)
    if cost is None:
        return f"largest batch: {atoms} atoms; {have}; memory could not be probed"
    fits = int(SHARE * free / cost.of_an_atom)
    told = f"largest batch: {atoms} atoms of {cost.of_an_atom / 1e6:.2g} MB each; {have}"
    if atoms > fits:
        raise RunError(
            "E-MEMORY-FORECAST",
            f"the largest batch has {atoms} atoms and memory is there for {fits} ({told})",
            why="the run would end out of memory when that batch comes",
            fix=f"set max_atoms to at most {fits}, which packs structures by their size, or a smaller batch_size",
        )
    return told


def _bare(system: System) -> System:
    """Without what is given for some structures and not for others; it costs no memory."""
    return system.replace(moments=None, field=None, electrode_potential=None)


def _step(potential: Potential, aim: Aim, system: System) -> None:
    """Loss and gradients for labels of zero; the gradients are thrown away."""
    labels = {}
    for name in sorted(aim.requires):
        row = quantity(name)
        rows = system.n_atoms if row.per == "atom" else system.n_systems
        labels[name] = torch.zeros((rows, *row.shape), dtype=torch.float64, device=system.device)
    masks = {name: torch.ones(system.n_systems, dtype=torch.bool, device=system.device) for name in labels}
    parts = aim.loss(potential, Batch(system, labels, masks), differentiable=True)
    total = torch.stack([part.loss for part in parts.values()]).sum()
    parameters = [parameter for parameter in potential.parameters() if parameter.requires_grad]
    if total.requires_grad:
        with derivatives("parameters"):
            torch.autograd.grad(total, parameters, allow_unused=True)
