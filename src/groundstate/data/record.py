"""What one calculation said: a structure, its labels, their level of theory, and where all this was read."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from groundstate.atoms import LevelOfTheory, System

if TYPE_CHECKING:
    from groundstate.data.batch import Batch


@dataclass(frozen=True)
class Provenance:
    """Where a record comes from.

    file as opened · frame counts structures in it from 0 · keys: quantity → the key it was read under · tags: what else
    the file says of the structure, as text (`config_type`, `head`, a material's id): kept, never interpreted.
    """

    file: str | None = None
    frame: int | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Record:
    """One labelled structure.

    labels: quantity → float64 tensor in the unit and shape of the table of quantities, without the leading system axis:
    energy a scalar, stress [3, 3], forces [atom, 3]. A quantity that was not computed is absent, never zero.
    """

    system: System
    labels: dict[str, Tensor] = field(default_factory=dict)
    theory: LevelOfTheory | None = None
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def n_atoms(self) -> int:
        """Atoms in the structure."""
        return self.system.n_atoms


class LazyRecords(Sequence[Record]):
    """Records that are made when they are asked for, and columns of all of them that need no record.

    Whoever goes through many records asks the functions that know of this class (`batch.collate`, `batch.atom_counts`,
    `split.fingerprints`, …) and is answered from the columns.
    """

    @property
    @abstractmethod
    def atom_counts(self) -> NDArray[np.int64]:
        """Atoms of each record."""

    @property
    @abstractmethod
    def fingerprints(self) -> NDArray[np.uint64]:
        """Fingerprint of each structure, see `split.fingerprint`."""

    @property
    @abstractmethod
    def levels(self) -> tuple[LevelOfTheory, ...]:
        """Levels of theory among the records."""

    @property
    @abstractmethod
    def elements(self) -> dict[int, tuple[int, int]]:
        """Atomic number → (records with it, the first of them)."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of all records and their order."""

    @abstractmethod
    def collate(self, indices: Sequence[int]) -> "Batch":
        """The batch of the chosen records."""

    @abstractmethod
    def select(self, indices: Any) -> "LazyRecords":
        """The chosen records, in that order."""


def chosen(records: Sequence[Record], indices: Sequence[int]) -> Sequence[Record]:
    """Some of the records, in the given order; of lazy ones none is made."""
    if isinstance(records, LazyRecords):
        return records.select(indices)
    return [records[i] for i in indices]
