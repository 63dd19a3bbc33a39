"""What a reference engine is: settings that fix a level of theory, and the rules by which it refuses a structure."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from groundstate.atoms import Domain, GroundstateError, LevelOfTheory, OptionError, StructureError, System, nearest

DRIVERS = Path(__file__).parent / "drivers"


@runtime_checkable
class Engine(Protocol):
    """A program with its settings: a frozen dataclass whose fields, as plain data, are what its driver is started with.

    name      what people call it · provides: quantities it computes · domain: conditions it sees, for the contract
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str: ...

    @property
    def provides(self) -> frozenset[str]: ...

    @property
    def domain(self) -> Domain: ...

    @property
    def driver(self) -> Path: ...

    def interpreter(self) -> str | None:
        """Interpreter of the driver, `None` for the one running now. Raises RunError where the engine is missing."""
        ...

    def theory(self, facts: Mapping[str, Any]) -> LevelOfTheory:
        """The level of theory of its labels; `facts` is what the driver says of itself: at least `version`."""
        ...

    def refusal(self, single: System) -> GroundstateError | None:
        """Why this structure would get a wrong number at these settings, where it would."""
        ...

    def finer(self) -> "dict[str, Engine]":
        """The same calculation with one approximation made better at a time, for `check_convergence`."""
        ...


def settings(engine: Engine) -> dict[str, Any]:
    """The fields of an engine as plain data; 600 and 600.0 are one setting."""
    given = asdict(engine)
    return {
        f.name: float(given[f.name]) if isinstance(f.default, float) else given[f.name]
        for f in engine.__dataclass_fields__.values()
    }


def refused_as_crystal(single: System, engine: str) -> StructureError | None:
    """The refusal of a structure that is not periodic in three directions by a plane-wave engine."""
    if bool(single.pbc.all()):
        return None
    return StructureError(
        "E-NOT-A-CRYSTAL",
        f"the structure has {int(single.pbc.sum())} periods and {engine} repeats its cell in three",
        why="the distance to the images would be the program's choice, not yours",
        fix="for a slab, state the vacuum in the cell and set pbc to T T T; for a molecule use pyscf",
    )


def refused_as_molecule(single: System, engine: str, why: str) -> StructureError | None:
    """The refusal by an engine of molecules: of periods (`why` it takes none), of a state that is not stated."""
    if bool(single.pbc.any()):
        return StructureError(
            "E-NOT-A-MOLECULE",
            f"the structure is periodic and {engine} here computes molecules",
            why=why,
            fix="use gpaw or abinit for crystals; set pbc to F F F where the cell is only a box",
        )
    charge = 0.0 if single.charge is None else float(single.charge[0])
    if charge != round(charge):
        return StructureError(
            "E-CHARGE-FRACTION", f"a molecule cannot carry {charge:+g} e", fix="give a whole number of electrons"
        )
    if single.multiplicity is None and (int(single.numbers.sum()) - round(charge)) % 2 == 1:
        return StructureError(
            "E-SPIN-UNSTATED",
            "the molecule has an odd number of electrons and its multiplicity is not stated",
            why="it is a doublet or higher, and which is a question of chemistry",
            fix="state spin=2 for an ordinary radical, or check the charge",
        )
    return None


def mesh(single: System, spacing_per_A: float) -> tuple[int, int, int]:
    """Points along each reciprocal vector, so that neighbours are at most `spacing_per_A` (Å⁻¹, with 2π) apart."""
    reciprocal = 2 * math.pi * np.linalg.norm(np.linalg.inv(single.cell[0].cpu().numpy()), axis=0)
    one, two, three = (max(1, math.ceil(length / spacing_per_A - 1e-6)) for length in reciprocal)
    return one, two, three


def coarse_mesh(single: System, k_mesh: tuple[int, int, int] | None, limit_per_A: float) -> StructureError | None:
    """The refusal of a k-mesh whose points are further apart than the limit."""
    if k_mesh is None:
        return None
    least = mesh(single, limit_per_A)
    if all(n >= m for n, m in zip(k_mesh, least, strict=True)):
        return None
    return StructureError(
        "E-K-MESH-COARSE",
        f"the k-mesh {k_mesh} is coarser than {limit_per_A:g} Å⁻¹ allows for this cell, {least}",
        why="band energies between the points are guessed, and errors of forces and soft modes go unseen",
        fix="leave k_mesh out, or allow it by name with allow_coarse after check_convergence",
    )


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside low … high (both allowed), or not finite."""
    if not (math.isfinite(value) and low <= value <= high):
        raise OptionError(
            "E-OPTION-RANGE",
            f"{name}={value:g} is out of range",
            why=f"sensible values lie between {low:g} and {high:g}",
            fix="check the unit, which the option's name states",
        )


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a choice that does not exist."""
    if value not in known:
        raise OptionError("E-OPTION-UNKNOWN", f"{name}='{value}' does not exist", fix=nearest(str(value), known))
