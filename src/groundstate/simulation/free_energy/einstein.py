"""Helmholtz free energy of a crystal: a reversible path from independent oscillators to the crystal itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, RunError, StructureError, System, judge
from groundstate.atoms.units import BOLTZMANN, BOLTZMANN_J_PER_K, ATOMIC_MASS_kg
from groundstate.potentials import Potential, evaluate, hessian
from groundstate.simulation import options
from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.integrate import compute, init, step
from groundstate.simulation.engine import Engine
from groundstate.simulation.progress import Callback, Progress, silent

PLANCK_J_s = 6.62607015e-34
BLOCKS = 10


@dataclass(frozen=True)
class EinsteinConfig:
    """How a free energy is integrated.

    steps, discard   time steps of each point of the path, and how many of them only bring it into equilibrium
    timestep_fs, friction_per_ps   of Langevin dynamics (BAOAB)
    points           Gauss–Legendre points of the path, run together as one batch
    spring           eV/Å² of the oscillators; `None`: from the Hessian, a third of its trace at each atom
    primitive_cells  in the structure; `None`: counted, by the translations that change nothing
    """

    temperature_K: float
    steps: int = 4000
    discard: int = 1000
    timestep_fs: float = 2.0
    friction_per_ps: float = 5.0
    points: int = 7
    spring: float | None = None
    primitive_cells: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        options.within("temperature_K", self.temperature_K, 1.0, 1e5, code="E-TEMPERATURE", hint="it is in K")
        options.whole("steps", self.steps, 1)
        options.whole("discard", self.discard, 0)
        options.whole("points", self.points, 2)
        if self.steps - self.discard < 10 * BLOCKS:
            what = f"{self.steps - self.discard} steps would be averaged"
            raise OptionError("E-OPTION-RANGE", what, fix=f"let steps exceed discard by {10 * BLOCKS} or more")
        if self.spring is not None:
            options.within("spring", self.spring, 1e-3, 1e3, hint="it is in eV/Å²; 1 to 20 is usual")
        if self.primitive_cells is not None:
            options.whole("primitive_cells", self.primitive_cells, 1)


@dataclass(frozen=True, eq=False)
class FreeEnergy:
    """Helmholtz free energy of one crystal at a temperature, eV for the whole cell; all nuclei classical.

    reference   of the oscillators · work: the integral ∫⟨U − U_E⟩ dλ · error: standard error of the sum
    points, slopes, errors   λ of the path, ⟨U − U_E⟩ there and its standard error
    static      energy at the sites, included in `helmholtz`
    """

    helmholtz: float
    error: float
    reference: float
    work: float
    static: float
    n_atoms: int
    primitive_cells: int
    spring: Float[Tensor, " atom"]
    points: tuple[float, ...]
    slopes: tuple[float, ...]
    errors: tuple[float, ...]


def einstein(
    system: System,
    potential: Potential,
    config: EinsteinConfig,
    *,
    allow: Allowances | None = None,
    progress: Callback = silent,
) -> FreeEnergy:
    """F of a relaxed crystal, relative to nuclei at rest infinitely far apart in the potential's own zero of energy.

    Along U_λ = (1 − λ) U_E + λ U, with U_E springs to the sites, F = F_E + ∫₀¹ ⟨U − U_E⟩_λ dλ. The crystal must not
    drift away from the springs, so the first atom is held at its site throughout; where it is contributes v/Λ³, v the
    volume of a primitive cell, which is exact as U does not know where the crystal is. This replaces the correction for
    a fixed centre of mass.
    Source: Frenkel & Ladd, J. Chem. Phys. 81, 3188 (1984); Polson et al., J. Chem. Phys. 112, 5339 (2000); the atom
    held fixed: Vega & Noya, J. Chem. Phys. 127, 154113 (2007).
    Checked: tests/simulation/test_einstein.py (harmonic crystals with an exact answer)
    """
    _admit(system, potential, allow)
    springs = _springs(system, potential, config)
    cells = config.primitive_cells or _primitive_cells(system)
    nodes, weights = np.polynomial.legendre.leggauss(config.points)
    lambdas, weights = 0.5 * (nodes + 1), 0.5 * weights
    differences = _sample(system, potential, springs, lambdas, config, progress)
    slopes, errors = _block_averages(differences)
    thermal = BOLTZMANN * config.temperature_K
    reference = _einstein_molecule(system, springs, cells, thermal, config.temperature_K)
    work = float(weights @ slopes)
    return FreeEnergy(
        helmholtz=reference + work,
        error=float(np.sqrt((weights**2) @ (errors**2))),
        reference=reference,
        work=work,
        static=float(evaluate(potential, system, ("energy",))["energy"]),
        n_atoms=system.n_atoms,
        primitive_cells=cells,
        spring=springs,
        points=tuple(lambdas.tolist()),
        slopes=tuple(slopes.tolist()),
        errors=tuple(errors.tolist()),
    )


def _einstein_molecule(system: System, springs: Tensor, cells: int, thermal: float, kelvin: float) -> float:
    """−kT ln[(v/Λ₁³) Π_{i>1} (2π kT/k_i)^{3/2}/Λ_i³], Λ = h/√(2π m kT) in Å."""
    masses = system.masses * ATOMIC_MASS_kg
    wave = PLANCK_J_s / (2 * math.pi * masses * BOLTZMANN_J_PER_K * kelvin).sqrt() * 1e10
    first = math.log(float(system.volume[0]) / cells) - 3 * math.log(float(wave[0]))
    others = 1.5 * (2 * math.pi * thermal / springs[1:]).log() - 3 * wave[1:].log()
    return -thermal * (first + float(others.sum()))


class _Path:
    """Forces of the mixed energies; the differences U − U_E of the latest call are kept in `difference`."""

    def __init__(self, engine: Engine, sites: Tensor, springs: Tensor, lambdas: Tensor) -> None:
        self.engine, self.sites, self.springs, self.lambdas = engine, sites, springs, lambdas
        self.difference = torch.zeros_like(lambdas)

    def evaluate(self, system: System, want: Sequence[str]) -> tuple[dict[str, Tensor], dict[int, GroundstateError]]:
        found, errors = self.engine.evaluate(system, want)
        away = system.positions - self.sites
        oscillators = system.sum_over_atoms(0.5 * self.springs * (away**2).sum(dim=1))
        self.difference = found["energy"] - oscillators
        share = self.lambdas[system.system_index, None]
        forces = share * found["forces"] - (1 - share) * self.springs[:, None] * away
        return {"energy": oscillators + self.lambdas * self.difference, "forces": forces}, errors


def _sample(
    system: System,
    potential: Potential,
    springs: Tensor,
    lambdas: np.ndarray,
    config: EinsteinConfig,
    progress: Callback,
) -> Float[Tensor, "step point"]:
    """U − U_E along the dynamics of every point of the path, all in one batch."""
    count = len(lambdas)
    batch = System.batch([system] * count)
    path = _Path(
        Engine(potential, 1.0), batch.positions, springs.repeat(count), torch.from_numpy(lambdas).to(system.device)
    )
    motion = MDConfig(
        steps=config.steps,
        timestep_fs=config.timestep_fs,
        temperature_K=config.temperature_K,
        ensemble="langevin",
        friction_per_ps=config.friction_per_ps,
        seed=config.seed,
    )
    fixed = torch.zeros(batch.n_atoms, dtype=torch.bool, device=system.device)
    fixed[batch.system_ptr[:-1]] = True
    state = init(batch, fixed, torch.arange(count, device=system.device), motion)
    state, errors = compute(state, path)
    kept = []
    for k in range(config.steps):
        _refuse_failures(errors, lambdas)
        state, errors = step(state, path, motion)
        if k >= config.discard:
            kept.append(path.difference)
        if k % 50 == 0:
            progress(Progress(k, config.steps, "steps", f"{count} points"))
    _refuse_failures(errors, lambdas)
    differences = torch.stack(kept)
    if not bool(torch.isfinite(differences).all()):
        raise RunError("E-RESULT-NOT-FINITE", "an energy of the path is not finite", fix="give a shorter timestep_fs")
    furthest = float(torch.linalg.vector_norm(state.system.positions - batch.positions, dim=1).max())
    if furthest > 2.0:
        what, why = f"an atom ended {furthest:.2g} Å from its site", "the crystal melts or changes, the path has a jump"
        raise RunError(
            "E-EINSTEIN-LEFT", what, why=why, fix="lower the temperature, or begin from the stable structure"
        )
    progress(Progress(config.steps, config.steps, "steps"))
    return differences


def _block_averages(differences: Float[Tensor, "step point"]) -> tuple[np.ndarray, np.ndarray]:
    """Means and their standard errors over blocks, per point."""
    length = len(differences) // BLOCKS
    blocks = differences[: BLOCKS * length].reshape(BLOCKS, length, -1).mean(dim=1).cpu().numpy()
    return differences.mean(dim=0).cpu().numpy(), blocks.std(axis=0, ddof=1) / math.sqrt(BLOCKS)


def _springs(system: System, potential: Potential, config: EinsteinConfig) -> Float[Tensor, " atom"]:
    if config.spring is not None:
        return torch.full((system.n_atoms,), config.spring, dtype=torch.float64, device=system.device)
    found = hessian(potential, system).diagonal().reshape(-1, 3).mean(dim=1)
    if bool((found <= 0).any()):
        atom = int((found <= 0).nonzero()[0, 0])
        what, why = "an atom is not at a minimum", "it cannot be compared with an oscillator"
        raise StructureError("E-EINSTEIN-UNSTABLE", what, why=why, fix="relax the structure first", atoms=(atom,))
    return found


def _primitive_cells(system: System, tolerance: float = 1e-3) -> int:
    """How many translations map the structure onto itself within `tolerance` (Å)."""
    fractional = system.positions @ torch.linalg.inv(system.cell[0])
    alike = system.numbers[:, None] == system.numbers[None, :]
    count = 0
    for shift in fractional[system.numbers == system.numbers[0]] - fractional[0]:
        apart = fractional[:, None] + shift - fractional[None, :]
        distance = torch.linalg.vector_norm((apart - apart.round()) @ system.cell[0], dim=2)
        count += int(bool((alike & (distance < tolerance)).any(dim=1).all()))
    return count


def _admit(system: System, potential: Potential, allow: Allowances | None) -> None:
    if system.n_systems != 1:
        raise OptionError("E-FREE-ENERGY-BATCH", "a free energy belongs to one structure", fix="select one")
    if not potential.conservative:
        what, why = (
            "the model's forces are not the derivative of its energy",
            "the work along a path then depends on it",
        )
        raise OptionError("E-EINSTEIN-DIRECT", what, why=why, fix="use a conservative model")
    (verdict,) = judge(system, potential.domain, allow)
    if verdict.problems:
        raise verdict.problems[0]
    if not bool(system.pbc.all()) or system.n_atoms < 2:
        what, why = "the structure is not a crystal of two or more atoms", "there are no sites to bind its atoms to"
        raise StructureError("E-EINSTEIN-CRYSTAL", what, why=why, fix="give a periodic supercell")


def _refuse_failures(errors: dict[int, GroundstateError], lambdas: np.ndarray) -> None:
    for point, error in errors.items():
        what = f"the potential failed at λ = {lambdas[point]:.3f}: {error.what}"
        raise RunError(error.code, what, fix="give a shorter timestep_fs, or stiffer springs")
