"""Records of several levels of theory in one run: each level has its own zero of energy and its own read-out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import torch

from groundstate.atoms import DataError, LevelOfTheory
from groundstate.atoms.elements import symbols
from groundstate.data import (
    Record,
    check_reference_energies,
    elements_of,
    fit_reference_energies,
    isolated_atom_energies,
)
from groundstate.training.identity import theories_of


def levels_of(records: Sequence[Record]) -> tuple[LevelOfTheory, ...]:
    """The levels of theory among the records, in the order of their ids; none where no record names one.

    Records that name none belong to the one level the others name; where there are several, they are refused. Levels
    that a rule for the Hubbard U tells from the elements of a frame are one, with every U of the rule.
    """
    levels = tuple(theories_of(records).values())
    if len(levels) > 1 and told_by_elements(records):
        return (replace(levels[0], hubbard_u=tuple({pair for level in levels for pair in level.hubbard_u})),)
    unnamed = [i for i, record in enumerate(records) if record.theory is None] if len(levels) > 1 else []
    if unnamed:
        raise DataError(
            "E-THEORY-UNSTATED",
            f"{len(unnamed)} of {len(records)} frames (the first is {unnamed[0]}) name no level of theory, and the"
            f" others name {len(levels)} ({', '.join(level.label for level in levels)})",
            why="energies of different levels must not be mixed",
            fix="name the level when reading the file: theory=, or a `head` for every frame",
        )
    return levels


def told_by_elements(*sets: Sequence[Record]) -> bool:
    """Whether levels differ in the Hubbard U alone and frames of the same elements have the same: then it is part of
    what a structure is, as in the rules of the Materials Project, and one model may learn them all."""
    if len({replace(level, hubbard_u=()) for records in sets for level in theories_of(records).values()}) != 1:
        return False
    known: dict[frozenset[int], LevelOfTheory | None] = {}
    for records in sets:
        for record in records:
            elements = frozenset(record.system.numbers.tolist())
            if known.setdefault(elements, record.theory) != record.theory:
                return False
    return True


def names_of(levels: Sequence[LevelOfTheory]) -> list[str]:
    """Short names of levels, for people: labels where these differ, else ids."""
    labels = [level.label for level in levels]
    return labels if len(set(labels)) == len(labels) else [level.id for level in levels]


class AtLevels(Sequence[Record]):
    """The same records, each asking for the read-out of its level (`System.theory`)."""

    def __init__(self, records: Sequence[Record], levels: Sequence[LevelOfTheory]) -> None:
        self._records, self._index = records, {level: i for i, level in enumerate(levels)}

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._at_level(record) for record in self._records[index]]
        return self._at_level(self._records[index])

    def __iter__(self) -> Iterator[Record]:
        return map(self._at_level, self._records)

    def _at_level(self, record: Record) -> Record:
        if record.theory not in self._index:
            named = "no level of theory" if record.theory is None else record.theory.id
            raise DataError(
                "E-THEORY-UNTRAINED",
                f"the frame names {named}, and training frames name {', '.join(level.id for level in self._index)}",
                why="its energies have a zero that was never learned",
                fix="remove it, or add training frames of its level",
                file=record.provenance.file,
                frame=record.provenance.frame,
            )
        theory = torch.tensor([self._index[record.theory]])
        return replace(record, system=record.system.replace(theory=theory))


@dataclass(frozen=True)
class References:
    """Reference energies of one level of theory, atomic number → eV, and where they come from.

    borrowed: elements that no frame of this level holds; their energies are those of another level
    """

    energies: Mapping[int, float]
    note: str
    borrowed: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        named = dict(
            zip(symbols(sorted(self.energies)), (self.energies[z] for z in sorted(self.energies)), strict=True)
        )
        told = {"borrowed": symbols(self.borrowed)} if self.borrowed else {}
        return {"energies_eV": named, "note": self.note, **told}


def references_of(bonded: Sequence[Record], everything: Sequence[Record], cutoff: float) -> References:
    """Energies of isolated atoms where the frames hold one of each element of the bonded ones, else fitted energies."""
    isolated = isolated_atom_energies(everything, cutoff)
    elements = elements_of(bonded).keys()
    if elements and elements <= isolated.keys():
        check_reference_energies(bonded, isolated, of_atoms=True)
        return References(isolated, "energies of isolated atoms among the training frames")
    fit = fit_reference_energies(bonded)
    return References(fit.energies, fit.note)


def references_by_level(
    bonded: Sequence[Record], everything: Sequence[Record], levels: Sequence[LevelOfTheory], cutoff: float
) -> list[References]:
    """Reference energies of each level, from its own frames alone.

    An element that a level never shows has no zero there. It borrows that of the level with most frames, which leaves
    differences at fixed composition meaningful; `borrowed` says so.
    """
    chosen = [[record for record in bonded if record.theory == level] for level in levels]
    found = [
        references_of(mine, [record for record in everything if record.theory == level], cutoff)
        for mine, level in zip(chosen, levels, strict=True)
    ]
    fewest_first = sorted(range(len(levels)), key=lambda i: len(chosen[i]))
    known: dict[int, float] = {}
    for i in fewest_first:
        known.update(found[i].energies)
    return [
        References({**known, **own.energies}, own.note, tuple(sorted(known.keys() - own.energies.keys())))
        for own in found
    ]
