"""This package's MACE, through its public interface only. Run by `run.py` in the environment it is installed in.

Settings: shape small, medium or large; dtype; threads; model, a model file to load instead of an untrained potential.
"""

from collections.abc import Callable
from typing import Any

import ase
import numpy as np
import torch
from ase.stress import voigt_6_to_full_3x3_stress
from worker import serve, structure

from groundstate import zoo
from groundstate.atoms import System, find_neighbours
from groundstate.data import Record, collate, from_ase
from groundstate.potentials import Potential
from groundstate.potentials.adapters.ase import Calculator
from groundstate.potentials.derive import evaluate
from groundstate.potentials.mace import MACEConfig, build
from groundstate.training import FitLabels, TrainConfig
from groundstate.training.optimise import make_optimiser

HIDDEN_LMAX = {"small": 0, "medium": 1, "large": 2}
ELEMENTS = range(1, 90)
WANT = ("energy", "forces", "stress")
WEIGHTS = {"energy": 1.0, "forces": 100.0, "stress": 10.0}


def untrained(shape: str, dtype: str) -> Potential:
    """The published MACE-MP-0 shape of that size; the radial functions are this package's own."""
    config = MACEConfig(
        channels=128,
        lmax=3,
        hidden_lmax=HIDDEN_LMAX[shape],
        correlation=3,
        layers=2,
        cutoff=6.0,
        radial_basis=10,
        radial_widths=(64, 64, 32),
        average_neighbours=60.0,
        scale=0.05,
        dtype=dtype,
    )
    return build(config, elements=list(ELEMENTS), reference_energies=[dict.fromkeys(ELEMENTS, 0.0)])


class Ours:
    """One shape of MACE."""

    packages = ("groundstate", "torch", "ase", "numpy")

    def __init__(self, settings: dict[str, Any]) -> None:
        torch.set_num_threads(settings["threads"])
        self.settings = settings
        self.potential = self._load()

    def calculator(self, **options: Any) -> Calculator:
        return Calculator(self.potential, **options)

    def evaluation(self, atoms: ase.Atoms) -> Callable[[], tuple[float, Any]]:
        system = from_ase(atoms)
        graph = find_neighbours(system, self.potential.cutoff)

        def run() -> tuple[float, Any]:
            found = evaluate(self.potential, system, WANT, graph=graph)
            return found["energy"].item(), found["forces"]

        return run

    def training(self, frames: list[dict[str, Any]]) -> Callable[[], None]:
        potential = self._load().train()
        batch = collate([_record(frame) for frame in frames])
        aim = FitLabels(WEIGHTS)
        optimiser = make_optimiser(list(potential.parameters()), TrainConfig(learning_rate=1e-3))

        def step() -> None:
            parts = aim.loss(potential, batch, differentiable=True)
            loss = torch.stack([aim.weights[name] * part.loss / part.count for name, part in parts.items()]).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(potential.parameters(), 10.0)
            optimiser.step()

        return step

    def _load(self) -> Potential:
        if self.settings["model"]:
            return zoo.load(self.settings["model"])
        return untrained(self.settings["shape"], self.settings["dtype"])


def _record(frame: dict[str, Any]) -> Record:
    system: System = from_ase(structure(frame))
    labels = {
        "energy": torch.tensor(frame["energy"], dtype=torch.float64),
        "forces": torch.tensor(frame["forces"], dtype=torch.float64),
        "stress": torch.from_numpy(voigt_6_to_full_3x3_stress(np.array(frame["stress"]))),
    }
    return Record(system, labels)


if __name__ == "__main__":
    serve(Ours)
