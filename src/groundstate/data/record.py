"""What one calculation said: a structure, its labels, their level of theory, and where all this was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from groundstate.atoms import LevelOfTheory, System


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
