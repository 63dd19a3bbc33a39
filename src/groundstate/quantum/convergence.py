"""How far a number still moves when one approximation is made better: the k-mesh, the cutoff, the basis, the grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from groundstate.atoms import GroundstateError, System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.quantum.engine import Engine
from groundstate.quantum.labeller import Label, Reference, Step, silent


@dataclass(frozen=True)
class Shift:
    """What one improvement changes; `None` where a quantity does not exist, `problem` where it could not be computed.

    energy_meV per atom · force_max eV/Å, longest vector of the difference · stress_max_GPa · seconds it took
    """

    improved: str
    energy_meV: float | None
    force_max: float | None
    stress_max_GPa: float | None
    seconds: float
    problem: GroundstateError | None

    def within(self, energy_meV: float = 1.0, force: float = 0.02, stress_GPa: float = 0.5) -> bool:
        """Whether the change is small, by default for labels to train on."""
        limits = ((self.energy_meV, energy_meV), (self.force_max, force), (self.stress_max_GPa, stress_GPa))
        return self.problem is None and all(abs(value) <= limit for value, limit in limits if value is not None)


def check_convergence(
    engine: Engine, structure: System, *, folder: str | Path | None = None, threads: int = 1, progress: Step = silent
) -> list[Shift]:
    """One calculation as asked and one for each improvement of `engine.finer()`; the differences between them.

    An absolute energy of a Gaussian basis moves by electronvolts from one basis to the next and says little; look at
    its forces. Raises the refusal when the calculation as asked has no result.
    """
    variants = engine.finer()
    start = _labelled(engine, structure, folder, threads)
    if start.problem is not None:
        raise start.problem
    progress(1, 1 + len(variants), engine.name)
    shifts = []
    for done, (improved, better) in enumerate(variants.items(), start=2):
        shifts.append(_shift(improved, start, _labelled(better, structure, folder, threads)))
        progress(done, 1 + len(variants), improved)
    return shifts


def _labelled(engine: Engine, structure: System, folder: str | Path | None, threads: int) -> Label:
    with Reference(engine, folder=folder, threads=threads) as reference:
        return reference.compute([structure])[0]


def _shift(improved: str, start: Label, better: Label) -> Shift:
    if better.problem is not None:
        return Shift(improved, None, None, None, better.seconds, better.problem)
    change: Mapping[str, Tensor] = {name: better.values[name] - value for name, value in start.values.items()}
    force = change.get("forces")
    stress = change.get("stress")
    return Shift(
        improved,
        1e3 * float(change["energy"]) / start.system.n_atoms,
        None if force is None else float(torch.linalg.vector_norm(force, dim=1).max()),
        None if stress is None else float(stress.abs().max()) / GIGAPASCAL,
        better.seconds,
        None,
    )
