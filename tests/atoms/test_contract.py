"""What every door refuses, by code and by words."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from groundstate.atoms import Allowances, Domain, GroundstateError, System, check, judge
from toys import fcc

F64 = torch.float64
NAN, INF = float("nan"), float("inf")


def silicon(**changes: Any) -> System:
    a = 5.43
    base = System.single(
        [[0, 0, 0], [a / 4, a / 4, a / 4]],
        [14, 14],
        cell=[[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]],
        pbc=True,
    )
    return base.replace(**changes)


def water(**given: Any) -> System:
    return System.single([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]], [8, 1, 1], **given)


def moved(system: System, atom: int, value: float) -> System:
    positions = system.positions.clone()
    positions[atom, 1] = value
    return system.replace(positions=positions)


def with_cell(rows: list[list[float]]) -> System:
    return silicon(cell=torch.tensor([rows], dtype=F64))


REFUSED: dict[str, tuple[Callable[[], System], Domain, str, str]] = {
    "NaN coordinate": (lambda: moved(silicon(), 1, NAN), Domain(), "E-POSITION-NOT-FINITE", "atoms 1"),
    "infinite coordinate": (lambda: moved(silicon(), 0, INF), Domain(), "E-POSITION-NOT-FINITE", "atoms 0"),
    "NaN in cell": (
        lambda: with_cell([[NAN, 0, 0], [0, 4, 0], [0, 0, 4]]),
        Domain(),
        "E-CELL-NOT-FINITE",
        "lattice vector",
    ),
    "identical positions": (
        lambda: System.single([[1.0, 1, 1]] * 2, [14, 14]),
        Domain(),
        "E-ATOMS-COINCIDE",
        "Si–Si 0.0000 Å apart",
    ),
    "identical through a periodic image": (
        lambda: System.single([[0.0, 0, 0], [4, 0, 0]], [14, 14], cell=torch.eye(3) * 4, pbc=True),
        Domain(),
        "E-ATOMS-COINCIDE",
        "periodic image",
    ),
    "two Si 0.05 Å apart": (
        lambda: System.single([[0.0, 0, 0], [0.05, 0, 0]], [14, 14]),
        Domain(),
        "E-ATOMS-CLOSE",
        "0.0500 Å apart",
    ),
    "nanometres read as Å": (
        lambda: silicon(positions=silicon().positions / 10, cell=silicon().cell / 10),
        Domain(),
        "E-ATOMS-CLOSE",
        "nm read as Å",
    ),
    "dependent lattice vectors": (
        lambda: with_cell([[4, 0, 0], [0, 4, 0], [4, 4, 0]]),
        Domain(),
        "E-CELL-SINGULAR",
        "a, b, c are linearly dependent",
    ),
    "one zero vector": (lambda: with_cell([[4, 0, 0], [0, 4, 0], [0, 0, 0]]), Domain(), "E-CELL-SINGULAR", "too short"),
    "periodic without a cell": (lambda: with_cell([[0, 0, 0]] * 3), Domain(), "E-CELL-MISSING", "set pbc to F"),
    "zero atoms": (lambda: System.single([], []), Domain(), "E-EMPTY", "no atoms"),
    "dummy atom": (lambda: silicon(numbers=torch.tensor([14, 0])), Domain(), "E-ELEMENT-UNKNOWN", "atoms 1"),
    "beyond the table": (lambda: silicon(numbers=torch.tensor([14, 119])), Domain(), "E-ELEMENT-UNKNOWN", "119"),
    "element the model does not know": (
        silicon,
        Domain(elements=frozenset({1, 8})),
        "E-ELEMENT-UNSUPPORTED",
        "it knows H, O",
    ),
    "charge for a charge-blind model": (lambda: water(charge=5.0), Domain(), "E-CHARGE-IGNORED", "--ignore-charge"),
    "charge not finite": (lambda: water(charge=NAN), Domain(charge="accepts"), "E-CHARGE", "not finite"),
    "charge missing": (water, Domain(charge="needs"), "E-CONDITION-MISSING", "not given is not zero"),
    "multiplicity missing": (water, Domain(multiplicity="needs"), "E-CONDITION-MISSING", "multiplicity"),
    "theory missing": (water, Domain(theory="needs", theories=2), "E-CONDITION-MISSING", "theory"),
    "theory unknown": (lambda: water(theory=2), Domain(theory="accepts", theories=2), "E-THEORY-UNKNOWN", "2"),
    "impossible spin parity": (
        lambda: water(charge=0.0, multiplicity=2),
        Domain(multiplicity="accepts"),
        "E-SPIN-PARITY",
        "10 electrons cannot have multiplicity 2",
    ),
    "spin zero": (lambda: water(multiplicity=0), Domain(multiplicity="accepts"), "E-SPIN", "starts at 1"),
    "spin for a spin-blind model": (lambda: water(multiplicity=3), Domain(), "E-SPIN-IGNORED", "does not see spin"),
    "mass": (lambda: silicon(masses=torch.tensor([28.0, 0.0], dtype=F64)), Domain(), "E-MASS", "atoms 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_code_place_and_words(name: str) -> None:
    make, domain, code, words = REFUSED[name]
    with pytest.raises(GroundstateError) as caught:
        check(make(), domain)
    assert caught.value.code == code
    assert words.lower() in str(caught.value).lower()
    assert caught.value.fix, "a refusal says what to do"


def test_one_bad_structure_marks_itself_only() -> None:
    batch = System.batch([silicon(), moved(silicon(), 0, NAN), fcc()])
    assert [len(verdict.problems) for verdict in judge(batch)] == [0, 1, 0]
    with pytest.raises(GroundstateError, match="frame 1"):
        check(batch)


ACCEPTED: dict[str, Callable[[], System]] = {
    "crystal": silicon,
    "molecule": water,
    "molecule with a dummy 1 Å cell": lambda: water(cell=torch.eye(3)),
    "molecule far away": lambda: water().replace(positions=water().positions + 1e6),
    "single atom": lambda: System.single([[0.0, 0, 0]], [2]),
    "slab with a zero open vector": lambda: System.single(
        [[0.0, 0, 0]], [29], cell=[[2.5, 0, 0], [0, 2.5, 0], [0, 0, 0]], pbc=(True, True, False)
    ),
    "atoms many cells outside": lambda: silicon(positions=silicon().positions + 12 * silicon().cell[0, 0]),
    "neutral charge for a blind model": lambda: water(charge=0.0, multiplicity=1),
    "a half-integer charge has no spin parity": lambda: water(charge=0.5),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    assert check(ACCEPTED[name](), Domain(charge="accepts")) == []


def test_left_handed_cell_is_accepted_with_a_note() -> None:
    assert "left-handed" in check(silicon(cell=silicon().cell[:, [1, 0, 2]]))[0]


def test_a_periodic_vacuum_is_noted() -> None:
    boxed = water(cell=2000 * torch.eye(3), pbc=True)
    assert "vacuum" in check(boxed)[0]


def test_allowances_lift_one_refusal_each() -> None:
    assert check(water(charge=5.0), Domain(), Allowances(ignored_charge=True)) == []
    assert check(water(multiplicity=3), Domain(), Allowances(ignored_multiplicity=True)) == []
    close = System.single([[0.0, 0, 0], [0.05, 0, 0]], [14, 14])
    assert "repulsive core" in check(close, Domain(reaches_contact=True), Allowances(close_atoms=True))[0]
    with pytest.raises(GroundstateError, match="E-ATOMS-CLOSE"):
        check(close, Domain(reaches_contact=False), Allowances(close_atoms=True))
