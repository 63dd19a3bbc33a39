"""The table of laws, and one examination of one potential by all of them."""

import math
from collections.abc import Callable, Sequence

from groundstate.atoms import GroundstateError, OptionError, nearest
from groundstate.laws import additivity, derivatives, dynamics, smoothness, symmetry
from groundstate.laws.noise import precision_of
from groundstate.laws.precision import Precision, named_precision
from groundstate.laws.result import LawResult
from groundstate.laws.specimens import Specimens, prepare
from groundstate.potentials import Potential

Law = Callable[[Potential, Specimens, Precision], LawResult]

LAWS: dict[str, Law] = {
    "determinism": symmetry.determinism,
    "rotation": symmetry.rotation,
    "reflection": symmetry.reflection,
    "translation": symmetry.translation,
    "permutation": symmetry.permutation,
    "wrapping": symmetry.wrapping,
    "far_from_origin": symmetry.far_from_origin,
    "lattice_choice": symmetry.lattice_choice,
    "neighbours": symmetry.neighbours,
    "batch": additivity.batch,
    "supercell": additivity.supercell,
    "size_consistency": additivity.size_consistency,
    "isolated_atom": additivity.isolated_atom,
    "forces": derivatives.forces,
    "stress": derivatives.stress,
    "cutoff": smoothness.cutoff,
    "repulsion": smoothness.repulsion,
    "nve_order": dynamics.nve_order,
    "nve_drift": dynamics.nve_drift,
}
"""Every law by name, cheap ones first."""


def examine(
    potential: Potential,
    *,
    laws: Sequence[str] | None = None,
    elements: Sequence[int] | None = None,
    seed: int = 0,
    precision: str | None = None,
    progress: Callable[[LawResult], None] | None = None,
) -> list[LawResult]:
    """Try a potential by the named laws (all by default), in the order of `LAWS`; equal arguments give equal results.

    elements   atomic numbers of the specimens; by default three common ones the potential knows
    precision  'float64' or 'float32', what tolerances apply; by default see `precision_of`
    progress   called with each result as it is found
    A law during which the potential raises has failed, with the error as its detail: the examination always finishes.
    Raises OptionError for an unknown law, element or precision. Checked: tests/laws.
    """
    for name in laws or ():
        if name not in LAWS:
            raise OptionError("E-LAW-UNKNOWN", f"there is no law '{name}'", fix=nearest(name, LAWS))
    stated = None if precision is None else named_precision(precision)
    specimens = prepare(potential, elements=elements, seed=seed)
    demanded = stated or precision_of(potential, specimens)
    results = []
    for name, law in LAWS.items():
        if laws is None or name in laws:
            results.append(_tried(name, law, potential, specimens, demanded))
            if progress is not None:
                progress(results[-1])
    return results


def _tried(name: str, law: Law, potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    try:
        return law(potential, specimens, precision)
    except GroundstateError as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001 - the potential may be anyone's code, and its failure is the finding
        detail = f"raised {type(error).__name__}: {error}"
    return LawResult(name, False, math.nan, math.nan, "", detail)
