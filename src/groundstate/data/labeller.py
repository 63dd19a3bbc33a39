"""The one interface to whoever computes labels: a DFT code, a teacher model, an experiment."""

from typing import Protocol

from groundstate.atoms import LevelOfTheory, System
from groundstate.data.record import Record


class Labeller(Protocol):
    """Computes labels for structures.

    `label` answers with one record per structure in the same order; a structure whose calculation failed comes back
    without labels, never with made-up ones.
    """

    theory: LevelOfTheory

    def label(self, systems: System) -> list[Record]:
        """Records of every structure of the batch."""
        ...
