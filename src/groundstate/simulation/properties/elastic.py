"""Elastic constants from stress against strain, all strains of all crystals in one batch.

A crystal at its minimum (or at a given pressure) is strained by ±δ and ±δ/2 in each of six symmetric strains ε,
F = 1 + ε being the deformation. With Cauchy stress σ,

    C_ij = ∂σ_i/∂ε_j,    Richardson's (4 C(δ/2) − C(δ))/3 of the central differences.

At zero pressure these are the second derivatives of the energy per volume. Under pressure p they are the stress–strain
coefficients B of Wallace, which decide stability and sound; they differ from the second derivatives C of the energy by
Lagrangian strain by B_ijkl = C_ijkl + ½(σ_ik δ_jl + σ_il δ_jk + σ_jk δ_il + σ_jl δ_ik − 2 σ_ij δ_kl), with σ = −p·1.
Source: Wallace, Thermodynamics of Crystals (1972), ch. 2; Barron, Klein, Proc. Phys. Soc. 85, 523 (1965).
Checked: tests/simulation/properties/test_elastic.py (energies, ASE, equation of state).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, RunError, System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.outputs import RunFolder, identity, run_folder
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.properties.batches import Found, evaluate_all
from groundstate.simulation.properties.ground_state import minima, outcomes, relax_to_floor
from groundstate.simulation.properties.outcome import Outcome, asked, not_relaxed
from groundstate.simulation.properties.symmetry import symmetry_of
from groundstate.simulation.properties.tensor import VOIGT, Averages, averages, is_stable, rotated, symmetrised
from groundstate.simulation.relaxation import RelaxConfig

STEPS = (1.0, -1.0, 0.5, -0.5)


@dataclass(frozen=True)
class ElasticConfig:
    """How elastic constants are taken.

    strain               δ, the larger of the two strains; the smaller is half of it
    relax_ions           ions relax at every strain (the constants an experiment sees); off: clamped ions only
    pressure_GPa         the crystal is relaxed at this pressure first; its constants are those of stress–strain there
    symmetrise           average over the point group
    standard_axes        turn the constants to the standard axes of the crystal (a along x, b in the xy plane); off: the
                         axes of the cell as given
    largest_stress_GPa   a residual stress above this is refused, above a tenth of it noted
    largest_curvature    difference of the constants at the two strains, relative to the largest constant, above which
                         the response is not linear and is refused; above a fifth of it noted
    symmetry_tolerance   Å
    """

    strain: float = 0.01
    relax_ions: bool = True
    pressure_GPa: float = 0.0
    symmetrise: bool = True
    standard_axes: bool = True
    force_tolerance: float = 1e-4
    max_steps: int = 1000
    largest_stress_GPa: float = 0.5
    largest_curvature: float = 0.1
    symmetry_tolerance: float = 1e-3
    max_atoms_per_batch: int = 1000

    def __post_init__(self) -> None:
        options.within("strain", self.strain, 1e-5, 0.05, hint="it has no unit; 0.01 is usual")
        options.within("pressure_GPa", self.pressure_GPa, -100.0, 5000.0, hint="it is in GPa")
        options.within("force_tolerance", self.force_tolerance, 1e-10, 1.0, hint="it is in eV/Å")
        options.whole("max_steps", self.max_steps, 1)
        options.within("largest_stress_GPa", self.largest_stress_GPa, 1e-9, 100.0, hint="it is in GPa")
        options.within("largest_curvature", self.largest_curvature, 1e-6, 10.0, hint="it is a fraction")
        options.within("symmetry_tolerance", self.symmetry_tolerance, 1e-8, 0.5, hint="it is in Å")
        options.whole("max_atoms_per_batch", self.max_atoms_per_batch, 1)


@dataclass(frozen=True, eq=False)
class ElasticTensor:
    """Elastic constants of one crystal, GPa, Voigt order xx yy zz yz xz xy, shear strains doubled.

    constants   with relaxed ions, or clamped ones where those were asked for; symmetrised where that was asked for
    clamped     with ions that follow the strain · errors per constant: the larger of a third of the difference between
                the two strains and half the difference between C_ij and C_ji
    asymmetry   the largest change that symmetrising made · averages `None` for an unstable crystal
    axes        rotation from the axes of the cell to those of the constants (columns r′ = R r)
    stress_GPa  of the reference, beyond the pressure asked for
    """

    constants: Float[Tensor, "6 6"]
    clamped: Float[Tensor, "6 6"]
    errors: Float[Tensor, "6 6"]
    averages: Averages | None
    stable: bool
    asymmetry: float
    axes: Float[Tensor, "3 3"]
    stress_GPa: Float[Tensor, "3 3"]
    pressure_GPa: float
    space_group: str


def elastic_tensor(
    system: System,
    potential: Potential,
    config: ElasticConfig | None = None,
    *,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[Outcome[ElasticTensor]]:
    """All 21 elastic constants of every crystal of a batch; one outcome each, in order.

    Refused, with numbers: a structure that does not relax (E-PROPERTY-NOT-RELAXED), a reference under stress
    (E-ELASTIC-STRESS), a response that is not linear over the strains (E-ELASTIC-LINEAR). With `output`, what is
    finished is kept and the same call continues.
    """
    config = config or ElasticConfig()
    made_by = identity("elastic_tensor", potential.fingerprint(), asked(config))
    folder = nullcontext(None) if output is None else run_folder(Path(output), made_by)
    with folder as run:
        where = None if run is None else run.path
        first = _relaxation(config, "full")
        starts = minima(
            system,
            potential,
            first,
            "an elastic tensor",
            allow=allow,
            output=where and where / "start",
            progress=progress,
        )
        sound = [i for i, start in enumerate(starts) if start.problem is None]
        crystals = [starts[i].system for i in sound]
        stresses = _stresses(crystals, potential, config, allow, run, where, progress)
        by_structure = dict(zip(sound, stresses, strict=True))
    return outcomes(starts, made_by, lambda i: _judged(starts[i].system, *by_structure[i], config))


def strained(single: System, strain: Float[Tensor, "3 3"]) -> System:
    """The crystal under a homogeneous strain, ions following: r → r(1 + ε)."""
    deformation = torch.eye(3, dtype=torch.float64, device=single.device) + strain.to(single.cell)
    return single.replace(positions=single.positions @ deformation, cell=single.cell @ deformation)


def unit_strain(component: int) -> Float[Tensor, "3 3"]:
    """The symmetric strain whose Voigt component (shears doubled) is 1."""
    i, j = VOIGT[component]
    strain = torch.zeros(3, 3, dtype=torch.float64)
    strain[i, j] += 0.5
    strain[j, i] += 0.5
    return strain


def _relaxation(config: ElasticConfig, cell: str) -> RelaxConfig:
    return RelaxConfig(
        cell=cell,
        pressure_GPa=config.pressure_GPa if cell == "full" else 0.0,
        force_tolerance=config.force_tolerance,
        max_steps=config.max_steps,
        max_atoms_per_batch=config.max_atoms_per_batch,
    )


Rows = list[Found | GroundstateError]


def _stresses(
    crystals: Sequence[System],
    potential: Potential,
    config: ElasticConfig,
    allow: Allowances | None,
    run: RunFolder | None,
    where: Path | None,
    progress: Callback,
) -> list[tuple[Rows, Rows]]:
    """Per crystal, the strain gradients of the reference and of its 24 strained copies: clamped, and relaxed ions."""
    if not crystals:
        return []
    strains = [config.strain * step * unit_strain(j) for j in range(6) for step in STEPS]
    copies = [strained(single, strain) for single in crystals for strain in (torch.zeros(3, 3), *strains)]
    limit, n = config.max_atoms_per_batch, len(strains) + 1
    want = ("energy", "strain_gradient")
    clamped = evaluate_all(potential, copies, want, max_atoms=limit, run=run, progress=progress)
    relaxed = clamped
    if config.relax_ions:
        ended = relax_to_floor(
            System.batch(copies),
            potential,
            _relaxation(config, "fixed"),
            allow=allow,
            output=where and where / "strained",
            progress=progress,
        )
        final = [result.system for result in ended]
        relaxed = evaluate_all(potential, final, want, max_atoms=limit, run=run, progress=progress)
        for k, result in enumerate(ended):
            if not result.converged:
                relaxed[k] = not_relaxed(f"{result.status} under strain", result.code, result.reason)
    return [(clamped[s * n : (s + 1) * n], relaxed[s * n : (s + 1) * n]) for s in range(len(crystals))]


def _judged(
    single: System, clamped_rows: Rows, rows: Rows, config: ElasticConfig
) -> tuple[ElasticTensor, tuple[str, ...]]:
    symmetry = symmetry_of(single, config.symmetry_tolerance)
    stress = _stress_GPa(rows[0], single) + config.pressure_GPa * torch.eye(3, dtype=torch.float64)
    residual = float(stress.abs().max())
    if residual > config.largest_stress_GPa:
        raise RunError(
            "E-ELASTIC-STRESS",
            f"the reference is under a stress of {residual:.3g} GPa beyond the pressure asked for",
            why="the constants would be those of another state",
            fix="relax to a smaller force_tolerance, or allow it with largest_stress_GPa",
        )
    notes = []
    if residual > 0.1 * config.largest_stress_GPa:
        notes.append(f"the reference is under a residual stress of {residual:.3g} GPa")
    clamped, _ = _constants(clamped_rows, single, config)
    constants, deviations = _constants(rows, single, config)
    scale = float(constants.abs().max())
    curvature = 3 * float(deviations[0].abs().max()) / scale
    if curvature > config.largest_curvature:
        raise RunError(
            "E-ELASTIC-LINEAR",
            f"the constants at strains {config.strain:g} and {config.strain / 2:g} differ by {100 * curvature:.2g} %"
            " of the largest",
            why="stress is not linear in such strains, or the model is rough on this scale",
            fix="choose another strain, or look at stress against strain",
        )
    if curvature > 0.2 * config.largest_curvature:
        notes.append(f"the two strains differ by {100 * curvature:.2g} % of the largest constant: mind the errors")
    averaged = symmetrised(constants, symmetry.rotations) if config.symmetrise else constants
    asymmetry = float((averaged - constants).abs().max())
    if config.symmetrise:
        clamped = symmetrised(clamped, symmetry.rotations)
    axes = symmetry.to_standard if config.standard_axes else torch.eye(3, dtype=torch.float64)
    final = rotated(averaged, axes)
    stable = is_stable(final)
    if not stable:
        notes.append("mechanically unstable: a homogeneous strain lowers the energy, so there are no averages")
    errors = torch.stack([rotated(deviation, axes).abs() for deviation in deviations]).amax(dim=0)
    tensor = ElasticTensor(
        constants=final,
        clamped=rotated(clamped, axes),
        errors=torch.maximum(errors, errors.T),
        averages=averages(final),
        stable=stable,
        asymmetry=asymmetry,
        axes=axes,
        stress_GPa=stress,
        pressure_GPa=config.pressure_GPa,
        space_group=symmetry.international,
    )
    return tensor, tuple(notes)


def _constants(rows: Rows, single: System, config: ElasticConfig) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Constants, and how far the two strains and C_ij and C_ji are apart, GPa, in the axes of the cell."""
    columns, errors = [], []
    for j in range(6):
        steps = [config.strain * step * unit_strain(j) for step in STEPS]
        stress = [_voigt(_stress_GPa(rows[1 + 4 * j + k], strained(single, step))) for k, step in enumerate(steps)]
        coarse = (stress[0] - stress[1]) / (2 * config.strain)
        fine = (stress[2] - stress[3]) / config.strain
        columns.append((4 * fine - coarse) / 3)
        errors.append((fine - coarse) / 3)
    found = torch.stack(columns, dim=1)
    return 0.5 * (found + found.T), (torch.stack(errors, dim=1), 0.5 * (found - found.T))


def _stress_GPa(row: Found | GroundstateError, at: System) -> Tensor:
    if isinstance(row, GroundstateError):
        raise row
    return row["strain_gradient"].cpu() / float(at.volume[0]) / GIGAPASCAL


def _voigt(stress: Float[Tensor, "3 3"]) -> Float[Tensor, "6"]:
    return torch.stack([stress[i, j] for i, j in VOIGT])
