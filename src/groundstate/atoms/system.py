"""The structures a potential sees: one frozen, always batched record. One crystal is a batch of one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms.elements import periodic_table
from groundstate.atoms.errors import OptionError


@dataclass(frozen=True, eq=False)
class System:
    """Atoms of one or many structures, concatenated; the atoms of system s are `system_ptr[s]:system_ptr[s+1]`.

    positions Å, float64 whatever the model computes in · numbers atomic numbers · cell Å, rows are lattice vectors,
    zero rows allowed where not periodic · pbc per lattice vector. The optional fields are `None` where *not given*,
    which is not zero: charge e · multiplicity 2S+1 · theory index into the model's heads · moments μB · field V/Å ·
    electrode_potential V. Velocities, constraints and optimiser state belong to `simulation`.
    """

    positions: Float[Tensor, "atom 3"]
    numbers: Int[Tensor, " atom"]
    system_ptr: Int[Tensor, " boundary"]
    cell: Float[Tensor, "system 3 3"]
    pbc: Bool[Tensor, "system 3"]
    masses: Float[Tensor, " atom"]
    charge: Float[Tensor, " system"] | None = None
    multiplicity: Int[Tensor, " system"] | None = None
    theory: Int[Tensor, " system"] | None = None
    moments: Float[Tensor, "atom 3"] | None = None
    field: Float[Tensor, "system 3"] | None = None
    electrode_potential: Float[Tensor, " system"] | None = None

    @property
    def n_atoms(self) -> int:
        """Atoms in the whole batch."""
        return self.numbers.shape[0]

    @property
    def n_systems(self) -> int:
        """Structures in the batch."""
        return self.system_ptr.shape[0] - 1

    def __len__(self) -> int:
        return self.n_systems

    @cached_property
    def atoms_per_system(self) -> Int[Tensor, " system"]:
        """Number of atoms of each structure."""
        return self.system_ptr[1:] - self.system_ptr[:-1]

    @cached_property
    def system_index(self) -> Int[Tensor, " atom"]:
        """The structure each atom belongs to."""
        return torch.repeat_interleave(
            torch.arange(self.n_systems, device=self.numbers.device), self.atoms_per_system, output_size=self.n_atoms
        )

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.positions.device

    @cached_property
    def volume(self) -> Float[Tensor, " system"]:
        """|det cell| in Å³, whatever the handedness; 0 where a lattice vector is missing."""
        return torch.linalg.det(self.cell).abs()

    def sum_over_atoms(self, values: Float[Tensor, "atom *rest"]) -> Float[Tensor, "system *rest"]:
        """Sum of a per-atom quantity over each structure."""
        total = torch.zeros((self.n_systems, *values.shape[1:]), dtype=values.dtype, device=values.device)
        return total.index_add(0, self.system_index, values)

    def replace(self, **changes: Any) -> "System":
        """A copy with some fields changed; cached indices are rebuilt only as needed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> "System":
        """The same batch on another device."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: value.to(device) for name, value in given.items()})

    def __getitem__(self, index: int) -> "System":
        return self.select([range(self.n_systems)[index]])

    def __iter__(self) -> Iterator["System"]:
        return iter([self]) if self.n_systems == 1 else (self.select([s]) for s in range(self.n_systems))

    def select(self, systems: Sequence[int]) -> "System":
        """The batch of the chosen structures, in that order."""
        chosen = torch.as_tensor(list(systems), dtype=torch.int64, device=self.device)
        ptr = self.system_ptr.tolist()
        parts = [torch.arange(ptr[s], ptr[s + 1], device=self.device) for s in chosen.tolist()]
        atoms = torch.cat(parts) if parts else chosen
        counts = self.atoms_per_system[chosen]
        values: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "system_ptr":
                values[f.name] = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
            elif value is not None:
                values[f.name] = value[atoms] if f.name in _PER_ATOM else value[chosen]
        return System(**values)

    @classmethod
    def single(
        cls,
        positions: Any,
        numbers: Any,
        *,
        cell: Any = None,
        pbc: Any = (False, False, False),
        masses: Any = None,
        charge: float | None = None,
        multiplicity: int | None = None,
        theory: int | None = None,
    ) -> "System":
        """One structure from anything array-like; masses default to standard atomic weights.

        Nothing is judged here: `contract.check` is the gate, so that a bad structure can be held, named and reported.
        """
        z = torch.as_tensor(numbers, dtype=torch.int64).reshape(-1)
        if masses is None:
            table = torch.tensor([0.0, *(row.mass for row in periodic_table())], dtype=torch.float64)
            masses = table[z.clamp(0, len(table) - 1)]
        periodic = torch.as_tensor(pbc, dtype=torch.bool)
        return cls(
            positions=torch.as_tensor(positions, dtype=torch.float64).reshape(-1, 3),
            numbers=z,
            system_ptr=torch.tensor([0, len(z)]),
            cell=torch.zeros(1, 3, 3, dtype=torch.float64)
            if cell is None
            else torch.as_tensor(cell, dtype=torch.float64).reshape(1, 3, 3),
            pbc=periodic.expand(3).reshape(1, 3).clone(),
            masses=torch.as_tensor(masses, dtype=torch.float64).reshape(-1),
            charge=None if charge is None else torch.tensor([float(charge)], dtype=torch.float64),
            multiplicity=None if multiplicity is None else torch.tensor([int(multiplicity)]),
            theory=None if theory is None else torch.tensor([int(theory)]),
        )

    @classmethod
    def batch(cls, systems: Sequence["System"]) -> "System":
        """Concatenate batches. An optional field must be given in all of them or in none: not given is not zero."""
        if not systems:
            raise OptionError("E-BATCH-EMPTY", "a batch needs at least one structure", fix="check the input list")
        counts = torch.cat([system.atoms_per_system for system in systems])
        values: dict[str, Any] = {"system_ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)])}
        for f in fields(cls):
            if f.name == "system_ptr":
                continue
            parts = [getattr(system, f.name) for system in systems]
            given = [part is not None for part in parts]
            if any(given) and not all(given):
                raise OptionError(
                    "E-BATCH-MIXED",
                    f"'{f.name}' is given for some structures of the batch and not for others",
                    why="a value that is not given is not zero",
                    fix=f"state '{f.name}' for every structure, or for none",
                )
            if all(given):
                values[f.name] = torch.cat(parts)
        return cls(**values)


_PER_ATOM = frozenset({"positions", "numbers", "masses", "moments"})
