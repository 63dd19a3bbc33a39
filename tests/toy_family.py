"""A family of public models that is made for tests: its package is ASE, its weights are one number in a file."""

import hashlib
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from groundstate.zoo import catalogue, foreign, installing
from groundstate.zoo.catalogue import Card
from groundstate.zoo.families import Family

MAKER = """
import os
import time

import numpy as np
from ase.calculators.calculator import Calculator


class Spring(Calculator):
    implemented_properties = ["energy", "forces", "stress", "charges"]

    def __init__(self, stiffness):
        super().__init__()
        self.stiffness = stiffness

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        if 2 in atoms.numbers:
            raise ValueError("no helium")
        if 3 in atoms.numbers:
            os._exit(7)
        if 4 in atoms.numbers:
            time.sleep(60)
        vectors = atoms.positions - atoms.positions.mean(axis=0)
        charge = atoms.info.get("charge", 0)
        self.results["energy"] = 0.5 * self.stiffness * float((vectors**2).sum()) + charge
        self.results["forces"] = -self.stiffness * vectors
        self.results["stress"] = np.zeros(6)
        self.results["charges"] = np.full(len(atoms), charge / len(atoms))


def make(settings):
    stiffness = float(open(settings["file"]).read())
    return Spring(stiffness), {"spring": "1.0", "elements": [1, 2, 3, 4, 6, 8]}
"""
WEIGHTS = b"2.5"
SHA = hashlib.sha256(WEIGHTS).hexdigest()


def record(**changes: Any) -> dict[str, Any]:
    """The card as a file of it would read."""
    return {
        "name": "spring",
        "version": "1",
        "family": "toy",
        "architecture": "every atom tied to the centre",
        "licence": "MIT",
        "commercial": "yes",
        "parameters": 1,
        "conservative": True,
        "cutoff": 0.0,
        "precisions": ["float64"],
        "outputs": ["charges"],
        "training_sets": ["none"],
        "citation": "none",
        "install": "groundstate models install spring",
        "limits": ["none"],
        "weights": {"source": "download", "files": [{"name": "spring.txt", "sha256": SHA}]},
        "conditions": {"charge": "accepts", "multiplicity": "ignores", "theory": "ignores"},
        "theory": {"functional": "springs"},
        **changes,
    }


def offer(patch: pytest.MonkeyPatch, folder: Path, card: Card) -> Family:
    """Make a card and its family known, with environments and weights in `folder`."""
    families_module = sys.modules[Family.__module__]  # the room exports a function of the same name
    (folder / "toy.py").write_text(MAKER, encoding="utf-8")
    family = Family("toy", "Springs", (), (), "ase", False, "nothing")
    patch.setattr(families_module, "DRIVERS", folder)
    for module in (families_module, installing):
        patch.setattr(module, "families", lambda: {"toy": family})
    for module in (foreign, installing):
        patch.setattr(module, "family", lambda name: {"toy": family}[name])
    offered = MappingProxyType({card.key: card})
    for module in (catalogue, installing):
        patch.setattr(module, "cards", lambda: offered)
    patch.setenv("GROUNDSTATE_ENVIRONMENTS", str(folder / "environments"))
    patch.setenv("GROUNDSTATE_MODELS", str(folder / "models"))
    for name in ("OFFLINE", "GROUNDSTATE_OFFLINE", "HF_HUB_OFFLINE"):
        patch.delenv(name, raising=False)
    return family
