"""A potential against quantum mechanics, on the spot: relative energies, forces, stress of the structures at hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import GroundstateError, System, judge, quantity
from groundstate.atoms.units import GIGAPASCAL
from groundstate.data import composition
from groundstate.potentials import Potential, evaluate, refuse_not_finite
from groundstate.quantum.labeller import Label, Reference, Step, silent


@dataclass(frozen=True, eq=False)
class Compared:
    """One structure: what quantum mechanics and the potential say of it, and how they differ.

    relative_energy_meV   (ΔE of the potential − ΔE of the reference) per atom, meV, both ΔE against the first structure
                          of the same composition that both could compute; `None` for that one and where there is none:
                          absolute energies of different levels of theory cannot be compared
    force_rms, force_max  eV/Å, of the difference over components, and its longest vector
    stress_max_GPa        largest component of the difference
    """

    label: Label
    predicted: dict[str, Tensor]
    problem: GroundstateError | None
    relative_energy_meV: float | None
    force_rms: float | None
    force_max: float | None
    stress_max_GPa: float | None

    def as_dict(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        return {
            "Δ(ΔE) (meV/atom)": self.relative_energy_meV,
            "ΔF rms (eV/Å)": self.force_rms,
            "ΔF largest (eV/Å)": self.force_max,
            "|F| reference (eV/Å)": _largest(self.label.values.get("forces")),
            "Δσ largest (GPa)": self.stress_max_GPa,
        }


@dataclass(frozen=True, eq=False)
class Verification:
    """All structures, and the root mean squares over those both sides could compute (`None` where there are none)."""

    rows: list[Compared]
    model: str
    same_theory: bool

    def summary(self) -> dict[str, float | None]:
        """Root mean squares of the columns, each structure with equal weight; stress: the largest."""
        energies = [row.relative_energy_meV for row in self.rows if row.relative_energy_meV is not None]
        forces = [row.force_rms for row in self.rows if row.force_rms is not None]
        stresses = [row.stress_max_GPa for row in self.rows if row.stress_max_GPa is not None]
        return {
            "Δ(ΔE) rms (meV/atom)": _rms(energies),
            "ΔF rms (eV/Å)": _rms(forces),
            "Δσ largest (GPa)": max(stresses) if stresses else None,
        }


def verify(
    potential: Potential, systems: Iterable[System], reference: Reference, progress: Step = silent
) -> Verification:
    """Compute every structure both ways; what either side refuses is kept with its reason.

    Checked: tests/quantum/test_verify.py (a potential against itself through a driver, and against a scaled one)
    """
    labels = reference.compute(systems, progress)
    answers = [_predicted(potential, label) for label in labels]
    origins: dict[str, int] = {}
    rows = []
    for i, (label, (predicted, problem)) in enumerate(zip(labels, answers, strict=True)):
        if label.problem is not None or problem is not None:
            rows.append(Compared(label, predicted, label.problem or problem, None, None, None, None))
            continue
        first = origins.setdefault(str(composition(label.system)), i)
        relative = None
        if first != i:
            origin = _difference(answers[first][0], labels[first])
            relative = 1e3 * (_difference(predicted, label) - origin)
        rows.append(Compared(label, predicted, None, relative, *_forces(predicted, label), _stress(predicted, label)))
    same = reference.theory in potential.theories
    return Verification(rows, potential.fingerprint(), same)


def _predicted(potential: Potential, label: Label) -> tuple[dict[str, Tensor], GroundstateError | None]:
    want = [name for name in ("energy", "forces", "stress") if name in label.values]
    problems = judge(label.system, potential.domain)[0].problems
    if problems or not want:
        return {}, problems[0] if problems else None
    try:
        found = evaluate(potential, label.system, want)
        refuse_not_finite(found, label.system)
    except GroundstateError as error:
        return {}, error
    return {name: value[0] if quantity(name).per == "system" else value for name, value in found.items()}, None


def _difference(predicted: dict[str, Tensor], label: Label) -> float:
    """Energy of the potential minus that of the reference, eV/atom."""
    return float(predicted["energy"] - label.values["energy"]) / label.system.n_atoms


def _forces(predicted: dict[str, Tensor], label: Label) -> tuple[float | None, float | None]:
    if "forces" not in predicted:
        return None, None
    difference = predicted["forces"] - label.values["forces"]
    return float(difference.square().mean().sqrt()), _largest(difference)


def _stress(predicted: dict[str, Tensor], label: Label) -> float | None:
    if "stress" not in predicted:
        return None
    return float((predicted["stress"] - label.values["stress"]).abs().max()) / GIGAPASCAL


def _largest(vectors: Tensor | None) -> float | None:
    return None if vectors is None else float(torch.linalg.vector_norm(vectors, dim=1).max())


def _rms(values: list[float]) -> float | None:
    return float(torch.tensor(values, dtype=torch.float64).square().mean().sqrt()) if values else None
