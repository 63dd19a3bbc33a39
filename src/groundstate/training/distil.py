"""Labels from a teacher: what a large potential says of structures, for a small one to learn."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from groundstate.atoms import System
from groundstate.data import Record
from groundstate.potentials import Potential, evaluate, refuse_not_finite
from groundstate.training.aims import DISPLACED

_TOGETHER = 2000
"""Atoms evaluated at once."""


def hessian_rows(teacher: Potential, records: Sequence[Record], *, rows: int = 1, seed: int = 0) -> list[Record]:
    """Further records of the same structures, each with one row of the teacher's Hessian and no other label.

    For each structure `rows` different rows are drawn, each of one atom and one axis, the same for the same seed. The
    labels are `displacement` and `hessian_row`, by central differences of the teacher's forces. Train on them together
    with the other labels under missing="mask" and a weight for `hessian_row`: a student then learns curvatures, and
    with them phonons and stable dynamics, from few structures.
    Source: Amin, Raja and Krishnapriyan, ICLR 2025 (arXiv:2501.09009). Checked: tests/training/test_distil.py
    """
    generator = torch.Generator().manual_seed(seed)
    asked: list[Record] = []
    for record in records:
        n = 3 * record.n_atoms
        for row in torch.randperm(n, generator=generator)[:rows].tolist():
            direction = torch.zeros(n, dtype=torch.float64)
            direction[row] = 1.0
            asked.append(replace(record, labels={"displacement": direction.reshape(-1, 3)}))
    made: list[Record] = []
    for chosen in _portions(asked):
        sides = [_forces(teacher, chosen, sign) for sign in (-1, 1)]
        atoms = [record.n_atoms for record in chosen]
        found = ((sides[0] - sides[1]) / (2 * DISPLACED)).split(atoms)
        made += [
            replace(record, labels={**record.labels, "hessian_row": row.clone()})
            for record, row in zip(chosen, found, strict=True)
        ]
    return made


def _forces(teacher: Potential, records: Sequence[Record], sign: int) -> torch.Tensor:
    moved = System.batch(
        [
            record.system.replace(positions=record.system.positions + sign * DISPLACED * record.labels["displacement"])
            for record in records
        ]
    )
    device = next((tensor.device for tensor in teacher.state_dict().values()), torch.device("cpu"))
    found = evaluate(teacher, moved.to(device), ("forces",))
    refuse_not_finite(found, moved.to(device))
    return found["forces"].double().cpu()


def _portions(records: Sequence[Record]) -> list[list[Record]]:
    portions: list[list[Record]] = []
    atoms = _TOGETHER
    for record in records:
        if atoms + record.n_atoms > _TOGETHER:
            portions.append([])
            atoms = 0
        portions[-1].append(record)
        atoms += record.n_atoms
    return portions
