"""The gate every door uses: what a structure must be before anything is computed from it.

A door calls `check` (raises the first problem) or `problems` (one list per structure, so that one bad structure marks
itself and never the batch). Codes are stable; docs/errors.md explains each.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from groundstate.atoms.elements import N_ELEMENTS, periodic_table, symbols
from groundstate.atoms.errors import GroundstateError, ModelError, StructureError
from groundstate.atoms.neighbours import Graph, complete_cell, find_neighbours
from groundstate.atoms.system import System

Attitude = Literal["needs", "accepts", "ignores"]
COINCIDENT = 1e-3
"""Å; atoms closer than this have no direction between them."""
CLOSEST = 0.35
"""Fraction of the sum of covalent radii below which no bonded or compressed solid is known."""


@dataclass(frozen=True)
class Domain:
    """What a potential declares about the structures it can answer for.

    elements            atomic numbers it knows; `None` means all (an analytic term)
    charge, multiplicity, theory   whether it needs, accepts or ignores the condition
    theories            number of levels of theory (heads)
    reaches_contact     it has a repulsive core that is right down to contact, so close atoms may be computed on request
    """

    elements: frozenset[int] | None = None
    charge: Attitude = "ignores"
    multiplicity: Attitude = "ignores"
    theory: Attitude = "ignores"
    theories: int = 1
    reaches_contact: bool = False


@dataclass(frozen=True)
class Allowances:
    """Refusals a user lifts by name; each is recorded with the result."""

    close_atoms: bool = False
    ignored_charge: bool = False
    ignored_multiplicity: bool = False
    direct_forces: bool = False


@dataclass(frozen=True)
class Verdict:
    """Problems refuse a structure; notes are printed beside its result."""

    problems: list[GroundstateError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(system: System, domain: Domain | None = None, allow: Allowances | None = None) -> list[str]:
    """Refuse the first bad structure of a batch by its frame number; return the notes of the others."""
    notes: list[str] = []
    for frame, verdict in enumerate(judge(system, domain, allow)):
        if verdict.problems:
            raise verdict.problems[0].at(frame=frame if system.n_systems > 1 else None)
        notes += verdict.notes
    return notes


def check_moved(
    single: System, domain: Domain, allow: Allowances | None, neighbours: Callable[[System, float], Graph]
) -> None:
    """Refuse one structure as `check` does, without notes: for each step of whoever keeps a neighbour list.

    `neighbours` gives a graph of it complete to a cutoff.
    """
    if problems := _problems(single, domain, allow or Allowances(), neighbours)[0]:
        raise problems[0]


def judge(system: System, domain: Domain | None = None, allow: Allowances | None = None) -> list[Verdict]:
    """One verdict per structure; without a domain the structure alone is judged, whatever its charge and spin."""
    domain = domain or Domain(charge="accepts", multiplicity="accepts")
    return [_judge_one(single, domain, allow or Allowances()) for single in system]


def _judge_one(single: System, domain: Domain, allow: Allowances) -> Verdict:
    problems, notes = _problems(single, domain, allow, find_neighbours)
    return Verdict(problems, [] if problems else notes + _cell_notes(single))


def _problems(
    single: System, domain: Domain, allow: Allowances, neighbours: Callable[[System, float], Graph]
) -> tuple[list[GroundstateError], list[str]]:
    # Later checks divide by what earlier ones establish, so the first group that fails ends the examination.
    for group in (_numbers_exist, _cell_exists, _conditions_known):
        if problems := group(single, domain, allow):
            return problems, []
    return _distances(single, domain, allow, neighbours)


def _indices(mask: Tensor) -> list[int]:
    return [int(i) for i in mask.nonzero()[:, 0]]


def _numbers_exist(single: System, domain: Domain, allow: Allowances) -> list[GroundstateError]:
    if single.n_atoms == 0:
        return [
            StructureError("E-EMPTY", "the structure has no atoms", fix="check the file or the filter that made it")
        ]
    bad = ~torch.isfinite(single.positions).all(dim=1)
    if bad.any():
        return [
            StructureError(
                "E-POSITION-NOT-FINITE",
                "a coordinate is NaN or infinite",
                why="neighbours would silently vanish and the result would look finite",
                fix="find the step that wrote it (a diverged run, a failed parse) and restart before it",
                atoms=_indices(bad),
            )
        ]
    if not torch.isfinite(single.cell).all():
        return [
            StructureError("E-CELL-NOT-FINITE", "a lattice vector is NaN or infinite", fix="check the cell of the file")
        ]
    # A dummy atom has no mass either, and its element is what must be said.
    if problems := _elements(single, domain):
        return problems
    if not (torch.isfinite(single.masses).all() and (single.masses > 0).all()):
        bad = ~(torch.isfinite(single.masses) & (single.masses > 0))
        return [
            StructureError(
                "E-MASS",
                "a mass is not a positive number",
                fix="drop the masses to use standard ones",
                atoms=_indices(bad),
            )
        ]
    return []


def _elements(single: System, domain: Domain) -> list[GroundstateError]:
    unreal = (single.numbers < 1) | (single.numbers > N_ELEMENTS)
    if unreal.any():
        return [
            StructureError(
                "E-ELEMENT-UNKNOWN",
                f"atomic number {int(single.numbers[unreal][0])} is not an element",
                why="dummy atoms and ghosts have no energy",
                fix="remove them or give them their element",
                atoms=_indices(unreal),
            )
        ]
    if domain.elements is None:
        return []
    supported = torch.tensor(sorted(domain.elements), device=single.device)
    strange = ~torch.isin(single.numbers, supported)
    if not strange.any():
        return []
    names = ", ".join(symbols(single.numbers[strange].unique().tolist()))
    known = ", ".join(symbols(sorted(domain.elements)))
    return [
        ModelError(
            "E-ELEMENT-UNSUPPORTED",
            f"the model was not made for {names}",
            why="its parameters for them are untrained",
            fix=f"it knows {known}; `groundstate models` lists what others know",
            atoms=_indices(strange),
        )
    ]


def _cell_exists(single: System, domain: Domain, allow: Allowances) -> list[GroundstateError]:
    periodic = single.pbc[0]
    rows = single.cell[0][periodic]
    if len(rows) == 0:
        return []
    names = [name for name, used in zip("abc", periodic.tolist(), strict=True) if used]
    lengths = torch.linalg.vector_norm(rows, dim=1)
    if bool((lengths == 0).all()):
        return [
            StructureError(
                "E-CELL-MISSING",
                f"the structure is periodic along {', '.join(names)} but its cell is zero",
                why="periodic images would lie on top of the atoms",
                fix="give the lattice, or set pbc to F for a molecule",
            )
        ]
    # The volume spanned per unit lengths: 0 for dependent vectors whatever their lengths.
    spanned = torch.linalg.svdvals(rows / lengths.clamp_min(1e-300)[:, None]).prod()
    if bool((lengths < 1e-3).any()) or float(spanned) < 1e-4:
        return [
            StructureError(
                "E-CELL-SINGULAR",
                f"the lattice vectors {', '.join(names)} are linearly dependent or too short"
                f" (lengths {', '.join(f'{float(x):.3g}' for x in lengths)} Å)",
                why="the cell has no volume",
                fix="give independent lattice vectors, or set pbc to F where there is no period",
            )
        ]
    return []


def _conditions_known(single: System, domain: Domain, allow: Allowances) -> list[GroundstateError]:
    return [
        problem
        for problem in (_charge(single, domain, allow), _multiplicity(single, domain, allow), _theory(single, domain))
        if problem is not None
    ]


def _charge(single: System, domain: Domain, allow: Allowances) -> GroundstateError | None:
    if single.charge is None:
        return _missing("charge", "e", "0 for a neutral one") if domain.charge == "needs" else None
    charge = float(single.charge[0])
    if charge != charge or abs(charge) == float("inf"):
        return StructureError("E-CHARGE", "the total charge is not finite", fix="give it in e, e.g. 1")
    if charge != 0 and domain.charge == "ignores" and not allow.ignored_charge:
        return ModelError(
            "E-CHARGE-IGNORED",
            f"the structure carries charge {charge:+g} e and the model does not see charge",
            why="the answer would be that of another electronic state",
            fix="use a model that accepts charge, or allow it by name (--ignore-charge)",
        )
    return None


def _multiplicity(single: System, domain: Domain, allow: Allowances) -> GroundstateError | None:
    if single.multiplicity is None:
        return _missing("multiplicity", "2S+1", "1 for a singlet") if domain.multiplicity == "needs" else None
    multiplicity = int(single.multiplicity[0])
    if multiplicity < 1:
        return StructureError(
            "E-SPIN",
            f"multiplicity {multiplicity} does not exist",
            why="multiplicity is 2S+1 and starts at 1 (a singlet)",
            fix="give 2S+1, not S and not the number of unpaired electrons",
        )
    charge = 0.0 if single.charge is None else float(single.charge[0])
    electrons = float(single.numbers.sum()) - charge
    if electrons == int(electrons) and (int(electrons) + multiplicity) % 2 == 0:
        return StructureError(
            "E-SPIN-PARITY",
            f"{int(electrons)} electrons cannot have multiplicity {multiplicity}",
            why="an even number of electrons has odd multiplicity and the reverse",
            fix="check charge and multiplicity together",
        )
    if multiplicity != 1 and domain.multiplicity == "ignores" and not allow.ignored_multiplicity:
        return ModelError(
            "E-SPIN-IGNORED",
            f"multiplicity {multiplicity} is given and the model does not see spin",
            why="the answer would be that of another electronic state",
            fix="use a model that accepts multiplicity, or allow it by name (--ignore-multiplicity)",
        )
    return None


def _theory(single: System, domain: Domain) -> GroundstateError | None:
    if single.theory is None:
        return _missing("theory", "the model's head", "see `groundstate models`") if domain.theory == "needs" else None
    index = int(single.theory[0])
    if domain.theory != "ignores" and not 0 <= index < domain.theories:
        return ModelError(
            "E-THEORY-UNKNOWN",
            f"level of theory {index} was asked of a model with {domain.theories}",
            fix="name one of the model's levels of theory",
        )
    return None


def _missing(name: str, unit: str, hint: str) -> GroundstateError:
    return ModelError(
        "E-CONDITION-MISSING",
        f"the model needs '{name}' ({unit}) and the structure does not state it",
        why="not given is not zero",
        fix=f"state it, {hint}",
    )


def _distances(
    single: System, domain: Domain, allow: Allowances, neighbours: Callable[[System, float], Graph]
) -> tuple[list[GroundstateError], list[str]]:
    radius = _radii().to(single.device)[single.numbers]
    # A cell list with bins much smaller than the box is slow to walk, so the search never goes below 3 Å.
    graph = neighbours(single, max(3.0, 2 * CLOSEST * float(radius.max())))
    if graph.n_edges == 0:
        return [], []
    i, j = graph.receivers, graph.senders
    vectors = single.positions[j] - single.positions[i] + graph.shifts.to(torch.float64) @ single.cell[0]
    distance, bonded = torch.linalg.vector_norm(vectors, dim=1), radius[i] + radius[j]
    ratio = distance / bonded
    worst = int(ratio.argmin())
    if float(ratio[worst]) >= CLOSEST:
        return [], []
    pair = [int(i[worst]), int(j[worst])]
    image = graph.shifts[worst].tolist()
    names = "–".join(symbols(single.numbers[pair].tolist()))
    where = f"{names} {float(distance[worst]):.4f} Å apart" + (f" (periodic image {image})" if any(image) else "")
    if float(distance.min()) < COINCIDENT:
        return [
            StructureError(
                "E-ATOMS-COINCIDE",
                f"two atoms are at the same place: {where}",
                why="there is no direction for a force between them",
                fix="remove the duplicate (a site generated twice?) or correct the cell",
                atoms=pair,
            )
        ], []
    if allow.close_atoms and domain.reaches_contact:
        return [], [f"atoms closer than known bonds: {where}; the repulsive core answers"]
    return [
        StructureError(
            "E-ATOMS-CLOSE",
            f"two atoms are closer than any known bond: {where}, limit {CLOSEST * float(bonded[worst]):.3f} Å",
            why="no model was trained there and its number would be made up",
            fix="check the length unit (nm read as Å shrinks tenfold) and the cell; a model with a repulsive core may"
            " be asked by name (--allow-close)",
            atoms=pair,
        )
    ], []


@cache
def _radii() -> Tensor:
    """Covalent radii by atomic number, Å."""
    return torch.tensor([0.0, *(row.covalent_radius for row in periodic_table())], dtype=torch.float64)


def _cell_notes(single: System) -> list[str]:
    notes = []
    periodic = single.pbc[0].tolist()
    if all(periodic) and float(torch.linalg.det(single.cell[0])) < 0:
        notes.append("left-handed cell: computed with |V|, results equal those of the right-handed cell")
    if all(periodic) and single.n_atoms > 0:
        span = _vacuum(single)
        if span > 30.0:
            notes.append(f"{span:.0f} Å of vacuum in a periodic cell: periodic images add nothing; pbc F says so")
    return notes


def _vacuum(single: System) -> float:
    """The widest empty gap along any lattice direction, Å."""
    cell = complete_cell(single)
    fractional = torch.linalg.solve(torch.from_numpy(cell).T, single.positions.detach().cpu().T).T.remainder(1.0)
    heights = 1.0 / torch.linalg.vector_norm(torch.linalg.inv(torch.from_numpy(cell)), dim=0)
    ordered = fractional.sort(dim=0).values
    gaps = torch.cat([ordered[1:] - ordered[:-1], ordered[:1] + 1.0 - ordered[-1:]]).max(dim=0).values
    return float((gaps * heights).max())
