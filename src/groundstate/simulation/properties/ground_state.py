"""The minimum a property is taken at: relaxed to the tolerance asked for, or to the noise of the forces where it ends.

Checked: tests/simulation/properties/test_ground_state.py
"""

from collections.abc import Callable as Function
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundstate.atoms import Allowances, GroundstateError, RunError, System, judge
from groundstate.laws.noise import force_noise
from groundstate.potentials import Potential
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.properties.outcome import Outcome, Value, not_a_crystal, not_relaxed
from groundstate.simulation.relaxation import RelaxConfig, RelaxResult, relax

NOISE_MARGIN = 6.0
"""The largest of many noisy forces is this many times their root mean square, seldom more."""
NEGLIGIBLE = 1e-3
"""A floor this far below the tolerance is that of float64."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a property of one structure is taken: the relaxed structure, or `problem`, the reason why there is none."""

    system: System
    relaxed: RelaxResult | None
    problem: GroundstateError | None
    notes: tuple[str, ...]


def minima(
    system: System,
    potential: Potential,
    config: RelaxConfig,
    what: str,
    *,
    allow: Allowances | None = None,
    output: Path | None = None,
    progress: Callback = silent,
) -> list[Minimum]:
    """The minimum of every crystal; `what` names the property in the refusal of those that are none."""
    found: dict[int, Minimum] = {}
    for i, (single, verdict) in enumerate(zip(system, judge(system, potential.domain, allow), strict=True)):
        problem = verdict.problems[0] if verdict.problems else None
        if problem is None and not bool(single.pbc.all()):
            problem = not_a_crystal(what, single)
        if problem is not None:
            found[i] = Minimum(single, None, problem, ())
    left = [i for i in range(system.n_systems) if i not in found]
    if left:
        results = relax_to_floor(system.select(left), potential, config, allow=allow, output=output, progress=progress)
        for i, result in zip(left, results, strict=True):
            problem = _not_there(result)
            found[i] = Minimum(result.system, result, problem, result.notes)
    return [found[i] for i in range(system.n_systems)]


def outcomes(
    starts: Sequence[Minimum],
    made_by: Mapping[str, Any],
    work: Function[[int], tuple[Value, tuple[str, ...]]],
) -> list[Outcome[Value]]:
    """One outcome per structure: what `work` makes of it with its notes, or the refusal that was met on the way."""

    def of(i: int, start: Minimum) -> Outcome[Value]:
        if start.problem is not None:
            return Outcome(i, start.system, None, start.problem, start.notes, made_by)
        try:
            value, notes = work(i)
        except GroundstateError as error:
            return Outcome(i, start.system, None, error, start.notes, made_by)
        return Outcome(i, start.system, value, None, (*start.notes, *notes), made_by)

    return [of(i, start) for i, start in enumerate(starts)]


def _not_there(result: RelaxResult) -> GroundstateError | None:
    if result.status == "invalid":
        return RunError(result.code, result.reason.removeprefix(f"{result.code}: "))
    return None if result.converged else not_relaxed(result.status, result.code, result.reason)


def relax_to_floor(
    system: System,
    potential: Potential,
    config: RelaxConfig,
    *,
    allow: Allowances | None = None,
    output: Path | None = None,
    progress: Callback = silent,
) -> list[RelaxResult]:
    """Relax every structure to `config.force_tolerance`, or to `NOISE_MARGIN` times the rounding noise of its forces.

    A potential that computes in float32 cannot reach 1e-4 eV/Å in many structures; it is then relaxed to what it can
    reach, and the result says so in its notes. The noise (`laws.noise`) is measured at the input, once for structures
    of the same atoms, and only once where it is far below what is asked.
    """
    asked = config.force_tolerance
    floors = _floors(system, potential, asked, allow)
    groups: dict[float, list[int]] = {}
    for i, floor in enumerate(floors):
        groups.setdefault(max(asked, _rounded_up(floor)), []).append(i)
    results: dict[int, RelaxResult] = {}
    for tolerance, members in groups.items():
        folder = None if output is None else output / f"relaxed_to_{tolerance:.0e}"
        chosen = replace(config, force_tolerance=tolerance)
        found = relax(system.select(members), potential, chosen, allow=allow, output=folder, progress=progress)
        for i, result in zip(members, found, strict=True):
            notes = result.notes
            if tolerance > asked:
                notes = (
                    *notes,
                    f"forces carry rounding noise of {floors[i] / NOISE_MARGIN:.1e} eV/Å (float32): relaxed to"
                    f" {tolerance:.0e} eV/Å instead of {asked:.0e}; a float64 model reaches further",
                )
            results[i] = replace(result, index=i, notes=notes)
    return [results[i] for i in range(system.n_systems)]


def _floors(system: System, potential: Potential, asked: float, allow: Allowances | None) -> list[float]:
    """eV/Å per structure, below which no relaxation can be trusted to end; 0 where that is no matter."""
    known: dict[bytes, float] = {}
    floors = []
    for single in system:
        atoms = single.numbers.cpu().numpy().tobytes()
        if atoms not in known:
            if any(0 < floor < NEGLIGIBLE * asked for floor in known.values()):
                return [0.0] * system.n_systems  # float64: the same potential computes all of them
            known[atoms] = _floor(potential, single, allow)
        floors.append(known[atoms])
    return floors


def _floor(potential: Potential, single: System, allow: Allowances | None) -> float:
    if judge(single, potential.domain, allow)[0].problems:
        return 0.0
    try:
        return NOISE_MARGIN * force_noise(potential, single)
    except GroundstateError:
        return 0.0


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 5 × a power of ten, so that structures of like noise relax together."""
    if not value > 0:
        return 0.0
    steps = (mantissa * 10.0**power for power in range(-16, 3) for mantissa in (1, 2, 5))
    return next((step for step in steps if step >= value), value)
