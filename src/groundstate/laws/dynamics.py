"""Energy is conserved by motion: what the forces and the energy owe each other along a whole trajectory.

The integrator is this room's own, ten lines of velocity Verlet, so that laws can judge simulation and not the reverse.
Its total energy oscillates by an amount ∝ Δt² about a shadow energy that does not drift, provided the forces are the
gradient of a smooth energy: Hairer, Lubich, Wanner, Acta Numerica 12, 399 (2003), section 5.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import System, find_neighbours
from groundstate.atoms.units import BOLTZMANN, FEMTOSECOND
from groundstate.laws.noise import energy_noise
from groundstate.laws.precision import Precision
from groundstate.laws.result import LawResult, does_not_apply
from groundstate.laws.specimens import Specimens
from groundstate.potentials import Potential, evaluate

MEMBERS = 8
"""Trajectories of the ensemble, one batch, equal positions and seeded velocities."""
STUDENT = 5.408
"""Student's t for 7 degrees of freedom, exceeded by chance once in a thousand examinations (two-sided)."""
TEMPERATURE_K = 300.0
PHASE = 0.12
"""Largest frequency × time step, rad: 52 steps per fastest period."""
STRIDE = 0.01
"""Å; the lightest atom moves no further in a step, so that collisions after free flight are resolved."""
DESCENT_STEPS, ORDER_STEPS, SETTLING_STEPS, DRIFT_STEPS = 60, 60, 60, 200
HALVINGS = 3
"""Times the step is halved in search of the regime where the leading error rules."""
RATIO_TOLERANCE = 0.15
SKIN = 0.8
"""Å; a list of neighbours serves until an atom has moved by half of it."""


@dataclass(frozen=True, eq=False)
class _Start:
    """The ensemble at time 0: positions, velocities and time step in base units, rounding noise
    of the energy in eV/atom."""

    system: System
    velocities: Float[Tensor, "atom 3"]
    timestep: float
    noise: float


@dataclass(frozen=True, eq=False)
class _Run:
    """Energies per atom along the trajectories, eV: total, shadow (without the first and last time), and how much the
    potential energy varied."""

    total: Float[Tensor, "time member"]
    shadow: Float[Tensor, "inner member"]
    moved: float


def nve_order(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """Halving the time step quarters the fluctuation of the total energy, ¼ ± 15 %.

    Both runs start alike and cover the same time. That is the law of small steps, so a step whose higher errors still
    show is halved again, three times at most. A force that is not the gradient of the energy leaves a part of the
    fluctuation that no step reduces, a cliff in the energy a part that falls too slowly.
    """
    law = "nve_order"
    start = _prepare(potential, specimens)
    coarse = _run(potential, start, start.timestep, ORDER_STEPS)
    if reason := _nothing_happens(coarse, start):
        return does_not_apply(law, reason)
    ratios, departure = [], math.inf
    for halving in range(1, HALVINGS + 1):
        fine = _run(potential, start, start.timestep / 2**halving, ORDER_STEPS * 2**halving)
        if reason := _nothing_happens(fine, start):
            break
        wide, narrow = (_fluctuation(run.total[:: len(run.total) // ORDER_STEPS]) for run in (coarse, fine))
        ratios.append(f"{narrow / wide:.4f}")
        departure = abs(4 * narrow / wide - 1) if math.isfinite(wide + narrow) else math.inf
        if departure <= RATIO_TOLERANCE:
            break
        coarse = fine
    if reason and departure > RATIO_TOLERANCE:
        return does_not_apply(law, f"undecided at ratio {ratios[-1]}: {reason}" if ratios else reason)
    first = f"first step {start.timestep / FEMTOSECOND:.2f} fs"
    detail = f"ratio {', then '.join(ratios)}; {first}; last fluctuation {1000 * narrow:.1e} meV/atom"
    return LawResult(law, departure <= RATIO_TOLERANCE, departure, RATIO_TOLERANCE, "relative to ¼", detail)


def nve_drift(potential: Potential, specimens: Specimens, precision: Precision) -> LawResult:
    """The energy has no trend: its mean slope over the ensemble is indistinguishable from 0.

    What is followed is Verlet's shadow energy to second order, H + Δt²(v·U″·v/12 − F·M⁻¹·F/24), which leaves of the
    oscillation only O(Δt⁴) and shows a trend a hundred times smaller than the plain total would. Student's test over
    the slopes of eight trajectories: the tolerance is t(0.1 %) standard errors of their mean, and never below the
    rounding of the energy nor below a hundredth of its plain oscillation over the run.
    """
    law = "nve_drift"
    start = _prepare(potential, specimens)
    run = _run(potential, start, start.timestep, SETTLING_STEPS + DRIFT_STEPS)
    if reason := _nothing_happens(run, start):
        return does_not_apply(law, reason)
    # The members start in step with each other; a trend before they have lost it would be one event, not eight.
    settled = run.shadow[SETTLING_STEPS:]
    time = start.timestep / FEMTOSECOND / 1000 * torch.arange(len(settled), dtype=torch.float64)
    time = time - time.mean()
    slopes = 1000 * (time @ (settled - settled.mean(dim=0))) / (time @ time)
    mean, error = float(slopes.mean()), float(slopes.std()) / math.sqrt(MEMBERS)
    duration = float(time[-1] - time[0])
    least = 1000 * max(start.noise, 0.01 * _fluctuation(run.total)) / duration
    tolerance = max(STUDENT * error, least)
    measured = abs(mean) if math.isfinite(mean) else math.inf
    detail = f"{mean:+.1e} ± {error:.1e} over {duration:.2f} ps, {MEMBERS} trajectories"
    return LawResult(law, measured <= tolerance, measured, tolerance, "meV/atom/ps", detail)


def _nothing_happens(run: _Run, start: _Start) -> str:
    """Why a trajectory tells nothing about this potential; empty when it tells something."""
    if run.moved < 1e-5:
        return f"the potential energy changes by only {run.moved:.0e} eV/atom along the way: free flight"
    wide = _fluctuation(run.total)
    if wide < 10 * start.noise:
        return f"the fluctuation {wide:.0e} eV/atom drowns in the rounding of the energy, {start.noise:.0e} eV/atom"
    return ""


def _fluctuation(total: Float[Tensor, "time member"]) -> float:
    """Root mean square about the mean of each trajectory, eV/atom."""
    return float((total - total.mean(dim=0)).square().mean().sqrt())


def _verlet(
    potential: Potential, start: _Start, timestep: float, steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Potential energy, velocities and forces before each step of velocity Verlet, and after the last."""
    system, velocities = start.system, start.velocities
    masses, listed, graph = system.masses[:, None], None, None
    for step in range(steps + 1):
        if listed is None or float((system.positions - listed).square().sum(dim=1).max()) > (0.5 * SKIN) ** 2:
            listed, graph = system.positions, find_neighbours(system, potential.cutoff + SKIN)
        found = evaluate(potential, system, ("energy", "forces"), graph=graph)
        kick = 0.5 * timestep * found["forces"] / masses
        velocities = velocities + kick if step > 0 else velocities
        yield found["energy"], velocities, found["forces"]
        velocities = velocities + kick
        system = system.replace(positions=system.positions + timestep * velocities)


def _run(potential: Potential, start: _Start, timestep: float, steps: int) -> _Run:
    """One trajectory of every member, and the energies along it."""
    system = start.system
    n_atoms, masses = system.atoms_per_system, system.masses[:, None]

    def per_atom(values: Tensor) -> Tensor:
        return (system.sum_over_atoms(values.sum(dim=1)) / n_atoms).cpu()

    energies, velocities, forces = (list(x) for x in zip(*_verlet(potential, start, timestep, steps), strict=True))
    resting = torch.stack([(energy / n_atoms).cpu() for energy in energies])
    total = resting + torch.stack([per_atom(0.5 * masses * v**2) for v in velocities])
    bending = torch.stack(  # v·U″·v, with U″·v the rate at which the forces fall
        [
            per_atom(v * (f0 - f1) / (2 * timestep))
            for v, f0, f1 in zip(velocities[1:], forces, forces[2:], strict=False)
        ]
    )
    pushing = torch.stack([per_atom(f**2 / masses) for f in forces])
    shadow = total[1:-1] + timestep**2 * (bending / 12 - pushing[1:-1] / 24)
    return _Run(total, shadow, float(resting.std(dim=0).mean()))


def _prepare(potential: Potential, specimens: Specimens) -> _Start:
    """The bulk specimen after a short descent, with Maxwell–Boltzmann velocities at rest as a whole."""
    raised = specimens["bulk"]
    system = _descended(potential, raised)
    # Both ends of the descent: what is soft at the minimum may be hard where atoms collide.
    fastest = max(_largest_frequency(potential, s, specimens.generator()) for s in (raised, system))
    speed = math.sqrt(BOLTZMANN * TEMPERATURE_K / float(system.masses.min()))
    timestep = min(PHASE / max(fastest, 1e-12), STRIDE / speed)
    ensemble = System.batch([system] * MEMBERS)
    normal = torch.randn(ensemble.n_atoms, 3, dtype=torch.float64, generator=specimens.generator())
    masses = ensemble.masses[:, None]
    velocities = normal.to(ensemble.device) * (BOLTZMANN * TEMPERATURE_K / masses).sqrt()
    momentum = ensemble.sum_over_atoms(masses * velocities) / ensemble.sum_over_atoms(masses)
    noise = energy_noise(potential, system) / system.n_atoms
    return _Start(ensemble, velocities - momentum[ensemble.system_index], timestep, noise)


def _descended(potential: Potential, system: System) -> System:
    """Downhill, at most 0.05 Å per step and coordinate: near a minimum the trajectories are gentle.

    Step lengths of Barzilai and Borwein, IMA J. Numer. Anal. 8, 141 (1988), equation (5).
    """
    step, before, length = torch.zeros_like(system.positions), None, 0.01
    for _ in range(DESCENT_STEPS):
        forces = evaluate(potential, system, ("forces",))["forces"]
        if before is not None:
            bend = float((step * (before - forces)).sum().abs())
            length = min(float(step.square().sum()) / bend, 1.0) if bend > 0 else length
        before, step = forces, (length * forces).clamp(-0.05, 0.05)
        system = system.replace(positions=system.positions + step)
    return system


def _largest_frequency(potential: Potential, system: System, generator: torch.Generator) -> float:
    """Largest |ω| of the mass-weighted Hessian, by power iteration on force differences."""
    root = system.masses.sqrt()[:, None]
    mode = torch.randn(system.n_atoms, 3, dtype=torch.float64, generator=generator).to(system.device)
    squared = 0.0
    for _ in range(12):
        mode = mode / torch.linalg.vector_norm(mode)
        shift = 0.01 * mode / root / float((mode / root).abs().max())
        ahead, behind = (
            evaluate(potential, system.replace(positions=system.positions + sign * shift), ("forces",))["forces"]
            for sign in (1.0, -1.0)
        )
        step = float(shift.abs().max()) / float((mode / root).abs().max())
        image = (behind - ahead) / (2 * step) / root
        squared, mode = float(torch.linalg.vector_norm(image)), image + 1e-12 * mode
    return math.sqrt(squared) if math.isfinite(squared) else 0.0
