"""Reference energies from the data themselves: what remains is the energy of bonding, which a model can learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundstate.atoms import DataError, find_neighbours
from groundstate.atoms.elements import symbols
from groundstate.data.record import LazyRecords, Record, chosen

LARGEST_MEAN_RESIDUAL = 1.0
"""eV/atom; beyond it the references belong to another code or functional, or the labels are not total energies."""
MOST_FITTED = 50_000
"""Frames that references are fitted to: a hundred parameters need no more, and memory grows with them."""
_STRONGEST_BINDING = -12.0
"""eV/atom"""
_HUBER = 1.345
"""Huber's constant in units of the robust spread: 95 % efficient where residuals are Gaussian."""


@dataclass(frozen=True)
class ReferenceFit:
    """Energies per element that leave the smallest residual.

    energies atomic number → eV · rank number of independent compositions, at most n_elements · rmse of the energy minus
    references, eV/atom, for the priors (before) and the fitted ones (after) · mean_residual eV/atom, after.
    """

    energies: dict[int, float]
    rank: int
    n_elements: int
    rmse_before: float
    rmse_after: float
    mean_residual: float
    note: str


def fit_reference_energies(
    records: Sequence[Record], priors: Mapping[int, float] | None = None, *, iterations: int = 50
) -> ReferenceFit:
    """Robust least squares of the energies on composition, per atom, by iterative reweighting.

    Where compositions do not vary independently the data fix only combinations of the energies: the shift away from
    `priors` (default 0) is then the smallest that fits, and `rank` and `note` say so. Records without an energy are
    left out. Refused where even the best references leave a mean residual above 1 eV/atom.
    Source: Holland and Welsch, Commun. Stat. A 6, 813 (1977). Checked: tests/data/test_reference_energies.py
    """
    fit = describe_reference_energies(records, priors, iterations=iterations)
    if abs(fit.mean_residual) > LARGEST_MEAN_RESIDUAL:
        _, fractions, energies = _per_atom([record for record in _representative(records) if "energy" in record.labels])
        expected = fractions @ np.array([fit.energies[z] for z in sorted(fit.energies)])
        raise _foreign(fit.mean_residual, energies, expected)
    return fit


def describe_reference_energies(
    records: Sequence[Record], priors: Mapping[int, float] | None = None, *, iterations: int = 50
) -> ReferenceFit:
    """The fit of `fit_reference_energies`, whatever residual it leaves."""
    some = _representative(records)
    labelled = [record for record in some if "energy" in record.labels]
    if not labelled:
        raise DataError(
            "E-LABEL-MISSING", "no record has an energy", why="references are fitted to energies", fix="read energies"
        )
    elements, fractions, energies = _per_atom(labelled)
    prior = np.array([(priors or {}).get(z, 0.0) for z in elements])
    target = energies - fractions @ prior
    rank = int(np.linalg.matrix_rank(fractions, tol=1e-6 * np.linalg.norm(fractions, 2)))
    shift = _robust_shift(fractions, target, iterations)
    residual = target - fractions @ shift
    return ReferenceFit(
        energies={z: float(e) for z, e in zip(elements, prior + shift, strict=True)},
        rank=rank,
        n_elements=len(elements),
        rmse_before=float(np.sqrt((target**2).mean())),
        rmse_after=float(np.sqrt((residual**2).mean())),
        mean_residual=float(residual.mean()),
        note=_note(rank, len(elements), priors is not None) + _of_how_many(some, records),
    )


def fits_by_theory(records: Sequence[Record]) -> dict[str, ReferenceFit]:
    """A fit for each level of theory among records with energies, by its id ("" where it is not stated)."""
    members: dict[str, list[Record]] = {}
    for record in records:
        if "energy" in record.labels:
            members.setdefault("" if record.theory is None else record.theory.id, []).append(record)
    return {theory: describe_reference_energies(own) for theory, own in members.items()}


def residual_energy(record: Record, energies: Mapping[int, float]) -> float:
    """Energy less references, eV/atom."""
    references = sum(energies[z] for z in record.system.numbers.tolist())
    return (float(record.labels["energy"]) - references) / record.n_atoms


def _representative(records: Sequence[Record]) -> Sequence[Record]:
    """Evenly spaced records where there are very many, and one with each element at least."""
    if len(records) <= MOST_FITTED:
        return records
    spaced = set(np.linspace(0, len(records) - 1, MOST_FITTED).astype(int).tolist())
    return chosen(records, sorted(spaced | {first for _, first in elements_of(records).values()}))


def _of_how_many(some: Sequence[Record], records: Sequence[Record]) -> str:
    return "" if len(some) == len(records) else f"; fitted to {len(some)} of {len(records)} frames, evenly spaced"


def _per_atom(records: Sequence[Record]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Elements, their fractions [record, element], and energies per atom [record]."""
    elements = sorted({int(z) for record in records for z in record.system.numbers.unique()})
    column = {z: i for i, z in enumerate(elements)}
    fractions = np.zeros((len(records), len(elements)))
    for row, record in enumerate(records):
        numbers, counts = np.unique(record.system.numbers.cpu().numpy(), return_counts=True)
        for z, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            fractions[row, column[z]] = count / record.n_atoms
    return elements, fractions, np.array([float(record.labels["energy"]) / record.n_atoms for record in records])


def _robust_shift(fractions: np.ndarray, target: np.ndarray, iterations: int) -> np.ndarray:
    """Minimum-norm solution of the reweighted equations, repeated until the weights stand still."""
    weights = np.ones(len(target))
    shift = np.zeros(fractions.shape[1])
    for _ in range(iterations):
        root = np.sqrt(weights)
        new = np.linalg.lstsq(fractions * root[:, None], target * root, rcond=1e-6)[0]
        settled = np.abs(new - shift).max() < 1e-10
        shift = new
        residual = target - fractions @ shift
        spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
        if settled or spread < 1e-12:
            break
        weights = np.minimum(1.0, _HUBER * spread / np.maximum(np.abs(residual), 1e-300))
    return shift


def _note(rank: int, n_elements: int, given: bool) -> str:
    if rank == n_elements:
        return f"rank {rank} of {n_elements} elements: every reference energy is determined by the data"
    towards = "the given energies" if given else "0"
    return (
        f"rank {rank} of {n_elements} elements: compositions do not vary independently, so that only combinations of"
        f" the reference energies are determined; the rest stays nearest to {towards}, and energies of other"
        " compositions are not on a common scale"
    )


def isolated_atom_energies(records: Sequence[Record], reach: float) -> dict[int, float]:
    """Energies of the records that are one atom alone, by atomic number, eV.

    Alone means no periodic image within `reach` Å (a model's receptive field): a primitive cell of one atom is a
    crystal. Two different energies of one element are refused.
    """
    energies: dict[int, float] = {}
    for record in records:
        if record.n_atoms != 1 or "energy" not in record.labels or find_neighbours(record.system, reach).n_edges:
            continue
        z, energy = int(record.system.numbers[0]), float(record.labels["energy"])
        if abs(energies.setdefault(z, energy) - energy) > 1e-3:
            raise DataError(
                "E-REFERENCE-CONFLICT",
                f"isolated {symbols([z])[0]} has two energies, {energies[z]:.6g} and {energy:.6g} eV",
                why="a reference energy has one value",
                fix="keep the ground state of the atom",
                file=record.provenance.file,
                frame=record.provenance.frame,
            )
    return energies


def check_reference_energies(
    records: Sequence[Record], energies: Mapping[int, float], *, of_atoms: bool = False
) -> float:
    """Mean residual in eV/atom of given reference energies; refused above 1 eV/atom or where an element is missing.

    of_atoms: the references are energies of isolated atoms. What is left is then the energy of bonding, which no
    structure has above 0 by much nor below −12 eV/atom (tungsten: −8.9).
    """
    labelled = [record for record in records if "energy" in record.labels]
    if not labelled:
        return 0.0
    elements, fractions, per_atom = _per_atom(labelled)
    missing = [z for z in elements if z not in energies]
    if missing:
        raise DataError(
            "E-REFERENCE-ELEMENT",
            f"there is no reference energy for {', '.join(symbols(missing))}",
            why="its energy would be learned as bonding",
            fix="give it, or fit references to the data",
        )
    expected = fractions @ np.array([energies[z] for z in elements])
    mean = float((per_atom - expected).mean())
    lowest = _STRONGEST_BINDING if of_atoms else -LARGEST_MEAN_RESIDUAL
    if not lowest <= mean <= LARGEST_MEAN_RESIDUAL:
        raise _foreign(mean, per_atom, expected)
    return mean


def _foreign(mean: float, labels: np.ndarray, expected: np.ndarray) -> DataError:
    worst = int(np.abs(labels - expected).argmax())
    return DataError(
        "E-REFERENCE-RESIDUAL",
        f"energies and references differ by {mean:+.3g} eV/atom on average (record {worst}: label {labels[worst]:.6g},"
        f" references {expected[worst]:.6g} eV/atom)",
        why="they come from different codes or functionals, or one is in another unit or already a formation energy",
        fix="fit references to these data, or take both from one calculation",
    )


def elements_of(records: Sequence[Record]) -> dict[int, tuple[int, int]]:
    """Atomic number → (records with it, the first of them)."""
    if isinstance(records, LazyRecords):
        return records.elements
    found: dict[int, tuple[int, int]] = {}
    for index, record in enumerate(records):
        for z in record.system.numbers.unique().tolist():
            count, first = found.get(z, (0, index))
            found[z] = (count + 1, first)
    return dict(sorted(found.items()))


def check_elements(train: Sequence[Record], other: Sequence[Record]) -> None:
    """Refuse a set with elements that training never sees, listing them and where they are."""
    known = elements_of(train)
    strange = {z: where for z, where in elements_of(other).items() if z not in known}
    if strange:
        listed = "; ".join(
            f"{symbols([z])[0]} in {count} records (first {first})" for z, (count, first) in strange.items()
        )
        raise DataError(
            "E-ELEMENT-UNTRAINED",
            f"elements that the training set does not have: {listed}",
            why="their parameters would never be trained",
            fix="move some of these records into the training set, or remove them",
        )
