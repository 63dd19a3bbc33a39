"""Models of our own that come with the package: their weights lie beside it, as model files like any other."""

import hashlib
from pathlib import Path
from typing import Literal

from groundstate.atoms import ModelError
from groundstate.potentials import Potential, checkpoint
from groundstate.zoo.catalogue import Card

PACKAGES = Path(__file__).parents[2]
"""The folder the package is in; cards name their files from there."""


def load(card: Card, precision: Literal["float32", "float64"] = "float32") -> Potential:
    """The model of a card; in "float64" the same weights, computed with in double precision.

    Raises ModelError E-WEIGHTS where the file is not the one of the card. Checked: tests/zoo/test_shipped.py
    """
    (file,) = card.weights.files
    path = PACKAGES / file.name
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    if found != file.sha256:
        raise ModelError(
            "E-WEIGHTS",
            f"the weights of {card.id} are {'damaged' if found else 'not there'}",
            file=str(path),
            why="results would not be those of the model named",
            fix="install the package again",
        )
    potential = checkpoint.load(path)
    return potential if precision == "float32" else potential.double()
