"""Energy is a sum over parts that do not see each other: repeated cells, far fragments, lone atoms, batch members."""

from itertools import pairwise

import torch

from groundstate.atoms import System
from groundstate.laws.answers import Answer, ask, compare, compare_all
from groundstate.laws.precision import Precision
from groundstate.laws.result import Deviation, LawResult, verdict
from groundstate.laws.specimens import Specimens, prepared, repeated
from groundstate.potentials import Potential

APART = 1000.0
"""Å; beyond any stack of message-passing layers; neutral fragments interact by less than 1e-8 eV there."""

_REPEATS = {
    "bulk": (2, 1, 1),
    "skewed": (1, 1, 2),
    "thin": (2, 3, 1),
    "primitive": (3, 2, 1),
    "slab": (1, 2, 1),
    "chain": (3, 1, 1),
}


def supercell(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """n cells have n times the energy and strain gradient and the same forces; charged ones carry n charges."""
    neutral = {name: specimens[name] for name in _REPEATS}
    cases = {name: (system, repeated(system, _REPEATS[name])) for name, system in neutral.items()}
    note = "charged cells: the potential does not see charge"
    if potential.domain.charge != "ignores":
        note = "charged cells included"
        for name in ("bulk", "thin"):
            charged = prepared(potential, specimens[name], charge=1.0)
            cases[f"{name}, +1 e per cell"] = (charged, repeated(charged, _REPEATS[name]))
    deviations: list[Deviation] = []
    for name, (cell, large) in cases.items():
        n = large.n_atoms // cell.n_atoms
        one = ask(potential, cell)
        expected = Answer(n * one.energy, one.forces.repeat(n, 1), n * one.strain_gradient)
        deviations += compare(name, ask(potential, large), expected, precision)
    return verdict("supercell", deviations, note)


def size_consistency(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Two fragments 1000 Å apart have the sum of their energies and each its own forces."""
    parts = {
        "molecules": (specimens["molecule"], _tilted(specimens["molecule"])),
        "molecule and atom": (specimens["molecule"], _lone(potential, specimens, specimens.elements[-1])),
        "slabs": (specimens["slab_zero_c"], specimens["slab_zero_c"]),
    }
    deviations: list[Deviation] = []
    for name, (first, second) in parts.items():
        alone = ask(potential, first), ask(potential, second)
        expected = Answer(
            alone[0].energy + alone[1].energy,
            torch.cat([alone[0].forces, alone[1].forces]),
            alone[0].strain_gradient + alone[1].strain_gradient,
        )
        deviations += compare(name, ask(potential, _joined(first, second)), expected, precision)
    return verdict("size_consistency", deviations)


def isolated_atom(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """A lone atom has a finite energy and no force, in vacuum, in a huge periodic cell, or beside another far away."""
    deviations: list[Deviation] = []
    for number in specimens.elements:
        atom = _lone(potential, specimens, number)
        alone = ask(potential, atom)
        still = Answer(alone.energy, torch.zeros_like(alone.forces), torch.zeros_like(alone.strain_gradient))
        boxed = atom.replace(
            cell=APART * torch.eye(3, dtype=torch.float64, device=atom.device)[None],
            pbc=torch.ones_like(atom.pbc),
        )
        twice = Answer(2 * still.energy, still.forces.repeat(2, 1), still.strain_gradient)
        where = f"Z = {number}"
        deviations += compare(f"{where}, vacuum", alone, still, precision)
        deviations += compare(f"{where}, periodic cell", ask(potential, boxed), still, precision)
        deviations += compare(f"{where}, two far apart", ask(potential, _joined(atom, atom)), twice, precision)
    return verdict("isolated_atom", deviations)


def batch(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Structures evaluated together answer as each does alone, in any order and beside any neighbour."""
    names = list(specimens.structures)
    singles = {name: ask(potential, specimens[name]) for name in names}
    deviations: list[Deviation] = []
    for order in (names, names[::-1], *([first, second] for first, second in pairwise(names))):
        together = System.batch([specimens[name] for name in order])
        answer = ask(potential, together)
        found = {name: answer.of(i, together) for i, name in enumerate(order)}
        deviations += compare_all(found, singles, precision)
    return verdict("batch", deviations)


def _lone(potential: Potential, specimens: Specimens, number: int) -> System:
    return prepared(potential, System.single([[0.25, -0.5, 0.125]], [number]))


def _tilted(molecule: System) -> System:
    """The same molecule seen from another side, so that it is no translated copy."""
    return molecule.replace(positions=molecule.positions[:, [1, 2, 0]])


def _joined(first: System, second: System) -> System:
    """One structure of two, the second displaced by APART along a direction that is open in both."""
    away = first.positions.new_tensor([0.0, 0.0, APART])
    multiplicity, charge = first.multiplicity, first.charge
    if multiplicity is not None and second.multiplicity is not None:
        multiplicity = multiplicity + second.multiplicity - 1
    return first.replace(
        positions=torch.cat([first.positions, second.positions + away]),
        numbers=torch.cat([first.numbers, second.numbers]),
        masses=torch.cat([first.masses, second.masses]),
        system_ptr=first.system_ptr + second.system_ptr,
        multiplicity=multiplicity,
        charge=charge,
    )
