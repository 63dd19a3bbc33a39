"""Space has no preferred direction, hand, origin or label: what must not change, and what must turn along."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import System, VerletList, find_neighbours
from groundstate.laws.answers import Answer, ask, compare, magnitude
from groundstate.laws.precision import Precision
from groundstate.laws.result import Deviation, LawResult, verdict
from groundstate.laws.specimens import OPEN_THICKNESS, Specimens
from groundstate.potentials import Potential

FAR = 1e6
"""Å; a tenth of a millimetre from the origin."""


def rotation(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Turning a structure turns its forces and strain gradient and leaves its energy."""
    return _turned("rotation", potential, specimens, precision, handed=1.0)


def reflection(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """The mirror image has the same energy and mirrored forces: there is no left or right in chemistry's forces."""
    return _turned("reflection", potential, specimens, precision, handed=-1.0)


def _turned(law: str, potential: Potential, specimens: Specimens, precision: Precision, handed: float) -> LawResult:
    generator = specimens.generator()
    deviations: list[Deviation] = []
    for name, system in specimens.structures.items():
        turn = _orthogonal(generator, handed)
        there = turn.to(system.device)
        turned = system.replace(positions=system.positions @ there.T, cell=system.cell @ there.T)
        expected = ask(potential, system).rotated(turn)
        deviations += compare(name, ask(potential, turned), expected, precision)
    return verdict(law, deviations)


def _orthogonal(generator: torch.Generator, determinant: float) -> Float[Tensor, "3 3"]:
    """A random orthogonal matrix of the given determinant, ±1."""
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    return matrix * torch.linalg.det(matrix).sign() * determinant


def translation(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Moving all atoms together changes nothing, whether or not they leave the cell."""
    generator = specimens.generator()

    def moved(system: System) -> System:
        return system.replace(positions=system.positions + _random(generator, system, 1, 3, reach=5.0))

    return _unchanged("translation", potential, specimens, precision, moved)


def far_from_origin(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """10⁶ Å away everything is as before: distances are formed before precision is lost."""

    def moved(system: System) -> System:
        return system.replace(positions=system.positions + system.positions.new_tensor([FAR, FAR, -FAR]))

    return _unchanged("far_from_origin", potential, specimens, precision, moved)


def wrapping(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Each atom may be replaced by any of its periodic images, up to ten cells away."""
    generator = specimens.generator()

    def moved(system: System) -> System:
        cells = torch.randint(-10, 11, (system.n_atoms, 3), generator=generator).to(system.positions)
        return system.replace(positions=system.positions + (cells * system.pbc) @ system.cell[0])

    return _unchanged("wrapping", potential, specimens, precision, moved)


def _unchanged(
    law: str, potential: Potential, specimens: Specimens, precision: Precision, moved: Callable[[System], System]
) -> LawResult:
    deviations: list[Deviation] = []
    for name, system in specimens.structures.items():
        deviations += compare(name, ask(potential, moved(system)), ask(potential, system), precision)
    return verdict(law, deviations)


def permutation(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """The order in which atoms are listed means nothing."""
    generator = specimens.generator()
    deviations: list[Deviation] = []
    for name, system in specimens.structures.items():
        order = torch.randperm(system.n_atoms, generator=generator)
        there = order.to(system.device)
        listed = system.replace(
            positions=system.positions[there], numbers=system.numbers[there], masses=system.masses[there]
        )
        answer = ask(potential, system)
        expected = Answer(answer.energy, answer.forces[order], answer.strain_gradient)
        deviations += compare(name, ask(potential, listed), expected, precision)
    return verdict("permutation", deviations)


def lattice_choice(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """One crystal, many cells: left-handed, skewed, any length along an open direction, any cell around a molecule."""
    slab, chain, molecule = specimens["slab_zero_c"], specimens["chain"], specimens["molecule"]
    dummy = torch.eye(3, dtype=torch.float64, device=molecule.device)[None]
    thick = chain.cell + torch.diag(chain.cell.new_tensor([0.0, 1.0, OPEN_THICKNESS]))
    alternatives = {
        "left_handed": (specimens["left_handed"], specimens["bulk"]),
        "skewed": (specimens["skewed"], specimens["bulk"]),
        "slab": (specimens["slab"], slab),
        "slab, twice the vacuum": (_with_open_vector(specimens["slab"], 2.0), slab),
        "chain in a cell": (chain.replace(cell=thick), chain),
        "molecule in a 1 Å cell": (molecule.replace(cell=dummy), molecule),
    }
    deviations: list[Deviation] = []
    for name, (other, reference) in alternatives.items():
        deviations += compare(name, ask(potential, other), ask(potential, reference), precision)
    return verdict("lattice_choice", deviations)


def _with_open_vector(slab: System, factor: float) -> System:
    stretch = slab.cell.new_tensor([1.0, 1.0, factor])
    return slab.replace(cell=slab.cell * stretch[:, None])


def neighbours(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """The cell list, brute force and a list with a skin give one answer: an edge beyond the cutoff contributes 0."""
    deviations: list[Deviation] = []
    for name, system in specimens.structures.items():
        expected = ask(potential, system)
        forced = find_neighbours(system, potential.cutoff, method="brute_force")
        skinned = VerletList(potential.cutoff, skin=1.0).graph(system)
        deviations += compare(f"{name}, brute force", ask(potential, system, forced), expected, precision)
        deviations += compare(f"{name}, skin", ask(potential, system, skinned), expected, precision)
    return verdict("neighbours", deviations)


def determinism(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """The same question twice gives the same bits: the canary of state kept between calls and of faulty hardware."""
    unequal = 0.0
    for system in specimens.structures.values():
        first, second = ask(potential, system), ask(potential, system)
        for name in ("energy", "forces", "strain_gradient"):
            unequal = max(unequal, magnitude(getattr(first, name) - getattr(second, name)))
    return verdict("determinism", [Deviation("any output", "any specimen", unequal, 1e-300, "eV, eV/Å")])


def _random(generator: torch.Generator, system: System, *shape: int, reach: float) -> Tensor:
    drawn = torch.rand(*shape, dtype=torch.float64, generator=generator)
    return (reach * (2 * drawn - 1)).to(system.device)
