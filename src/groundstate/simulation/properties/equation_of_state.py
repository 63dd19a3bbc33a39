"""Energy against volume: the static equation of state of crystals, all volumes of all structures in one batch."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Allowances, RunError, System
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.outputs import identity, run_folder
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.properties.curves import FORMS, CurveFit, fit_curve
from groundstate.simulation.properties.ground_state import minima, outcomes, relax_to_floor
from groundstate.simulation.properties.outcome import Outcome, asked, not_relaxed
from groundstate.simulation.properties.symmetry import symmetry_of
from groundstate.simulation.relaxation import RelaxConfig, RelaxResult


@dataclass(frozen=True)
class EOSConfig:
    """How energies are taken against volume.

    lowest, highest      volumes, relative to the relaxed structure (to the input where `relax_first` is off)
    points               volumes, evenly spaced
    shape                relax the shape of the cell at each volume; ions relax in either case. Off: the cell scales
                         isotropically, which is exact for cubic crystals and too stiff for others
    relax_first          find the minimum first, cell and all
    force_tolerance      eV/Å, of every relaxation, raised to the noise of a float32 model
    largest_residual     root mean square distance of the fit from the energies, relative to their span; a worse fit is
                         refused
    symmetry_tolerance   Å, of the standard cell whose lengths are reported
    """

    lowest: float = 0.94
    highest: float = 1.06
    points: int = 9
    shape: bool = False
    relax_first: bool = True
    force_tolerance: float = 1e-4
    max_steps: int = 1000
    largest_residual: float = 0.02
    symmetry_tolerance: float = 1e-3
    max_atoms_per_batch: int = 1000

    def __post_init__(self) -> None:
        hint = "it is a ratio of volumes, e.g. 0.94 and 1.06"
        options.within("lowest", self.lowest, 0.3, 0.9999, hint=hint)
        options.within("highest", self.highest, 1.0001, 2.0, hint=hint)
        options.whole("points", self.points, 5)
        options.within("force_tolerance", self.force_tolerance, 1e-10, 1.0, hint="it is in eV/Å")
        options.whole("max_steps", self.max_steps, 1)
        options.within("largest_residual", self.largest_residual, 1e-9, 1.0, hint="it is a fraction of the span")
        options.whole("max_atoms_per_batch", self.max_atoms_per_batch, 1)


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """Energies (eV) of one cell at volumes (Å³), and what the fitted curves say.

    fits       by name of the form, each with error bars and residual; `best` is Birch–Murnaghan
    lengths    a, b, c of the standard (conventional) cell at the fitted minimum, Å
    """

    volumes: Float[Tensor, " point"]
    energies: Float[Tensor, " point"]
    n_atoms: int
    fits: Mapping[str, CurveFit]
    lengths: tuple[float, float, float]
    space_group: str

    @property
    def best(self) -> CurveFit:
        """The Birch–Murnaghan fit."""
        return self.fits["birch_murnaghan"]

    @property
    def form_error_GPa(self) -> float:
        """How far the bulk moduli of the forms are apart: what the choice of a curve is worth."""
        moduli = [fit.bulk_modulus_GPa for fit in self.fits.values()]
        return max(moduli) - min(moduli)


def equation_of_state(
    system: System,
    potential: Potential,
    config: EOSConfig | None = None,
    *,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[Outcome[EquationOfState]]:
    """The equation of state of every crystal of a batch; one outcome each, in order.

    Refused, with numbers: a structure that does not relax (E-PROPERTY-NOT-RELAXED), a minimum outside the volumes
    (E-EOS-RANGE), a curve that does not describe the energies (E-EOS-FIT). With `output`, finished relaxations are
    kept and the same call continues.
    Checked: tests/simulation/properties/test_equation_of_state.py (pair potential, ASE).
    """
    config = config or EOSConfig()
    made_by = identity("equation_of_state", potential.fingerprint(), asked(config))
    folder = nullcontext(None) if output is None else run_folder(Path(output), made_by)
    with folder as run:
        where = None if run is None else run.path
        first = to_minimum(config, "full" if config.relax_first else "fixed")
        starts = minima(
            system,
            potential,
            first,
            "an equation of state",
            allow=allow,
            output=where and where / "start",
            progress=progress,
        )
        sound = [i for i, start in enumerate(starts) if start.problem is None]
        crystals = [starts[i].system for i in sound]
        found = along_volumes(
            crystals, potential, config, allow=allow, output=where and where / "volumes", progress=progress
        )
        series = dict(zip(sound, found, strict=True))
    return outcomes(starts, made_by, lambda i: (_judged(series[i], config), ()))


def to_minimum(config: EOSConfig, cell: str) -> RelaxConfig:
    """The relaxation that goes with an equation of state."""
    return RelaxConfig(
        cell=cell,
        force_tolerance=config.force_tolerance,
        max_steps=config.max_steps,
        max_atoms_per_batch=config.max_atoms_per_batch,
    )


def along_volumes(
    crystals: Sequence[System],
    potential: Potential,
    config: EOSConfig,
    *,
    allow: Allowances | None,
    output: Path | None,
    progress: Callback,
) -> list[list[RelaxResult]]:
    """Each crystal at each volume, relaxed there; all of them in one batch."""
    if not crystals:
        return []
    ratios = torch.linspace(config.lowest, config.highest, config.points, dtype=torch.float64).tolist()
    scaled = [scaled_to(single, ratio) for single in crystals for ratio in ratios]
    there = to_minimum(config, "shape" if config.shape else "fixed")
    found = relax_to_floor(System.batch(scaled), potential, there, allow=allow, output=output, progress=progress)
    n = config.points
    return [found[s * n : (s + 1) * n] for s in range(len(crystals))]


def scaled_to(single: System, ratio: float) -> System:
    """The crystal at `ratio` times its volume, cell and positions scaled alike."""
    factor = ratio ** (1 / 3)
    return single.replace(positions=single.positions * factor, cell=single.cell * factor)


def _judged(series: list[RelaxResult], config: EOSConfig) -> EquationOfState:
    for result in series:
        if not result.converged:
            raise not_relaxed(f"{result.status} at {result.system.volume[0]:.2f} Å³", result.code, result.reason)
    volumes = torch.stack([result.system.volume[0] for result in series]).cpu()
    energies = torch.tensor([result.energy for result in series], dtype=torch.float64)
    lowest = int(energies.argmin())
    if lowest in (0, len(series) - 1):
        raise _outside(f"the lowest energy is at the {'smallest' if lowest == 0 else 'largest'} volume", volumes)
    n_atoms = series[0].system.n_atoms
    fits = {form: fit_curve(volumes, energies, form) for form in FORMS}
    for form, fit in fits.items():
        if not float(volumes[0]) < fit.volume < float(volumes[-1]):
            raise _outside(f"the minimum of the {form} fit is at {fit.volume:.3f} Å³", volumes)
        span = float(energies.max() - energies.min())
        if fit.residual > config.largest_residual * span:
            raise RunError(
                "E-EOS-FIT",
                f"the {form} curve misses the energies by {1e3 * fit.residual / n_atoms:.3g} meV/atom,"
                f" {100 * fit.residual / span:.2g} % of their span of {1e3 * span / n_atoms:.3g} meV/atom",
                why=f"a curve worse than {100 * config.largest_residual:g} % has no meaningful bulk modulus",
                fix="look for a jump in the energies (a transition, a rough model), or change the range of volumes",
            )
    found = [symmetry_of(result.system, config.symmetry_tolerance) for result in series]
    at_minimum = found[lowest]
    same = [k for k, one in enumerate(found) if one.number == at_minimum.number]
    lengths = torch.tensor([found[k].lengths for k in same], dtype=torch.float64)
    a, b, c = _at_volume(volumes[same], lengths, fits["birch_murnaghan"].volume)
    return EquationOfState(volumes, energies, n_atoms, fits, (a, b, c), at_minimum.international)


def _at_volume(volumes: Tensor, lengths: Tensor, volume: float) -> list[float]:
    """Lengths at a volume, by a quadratic in the logarithms, which is exact for isotropic scaling."""
    x = torch.log(volumes / volume)
    powers = torch.stack([torch.ones_like(x), x, x * x], dim=1)[:, : min(3, len(x))]
    solved = torch.linalg.lstsq(powers, lengths.log()).solution
    return solved[0].exp().tolist()


def _outside(what: str, volumes: Tensor) -> RunError:
    return RunError(
        "E-EOS-RANGE",
        f"{what}, and the volumes reach from {volumes[0]:.3f} to {volumes[-1]:.3f} Å³",
        why="an extrapolated minimum is a guess",
        fix="relax first (relax_first), or move lowest and highest so that they enclose the minimum",
    )
