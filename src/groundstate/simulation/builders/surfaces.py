"""Surfaces: slabs cut from a crystal, their energy from a line through thicknesses, and what makes it doubtful."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from groundstate.atoms import Allowances, OptionError, RunError, System, check
from groundstate.atoms.units import ELEMENTARY_CHARGE_C
from groundstate.data import from_pymatgen, to_pymatgen
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.builders.settings import Settings, quietly, relaxed
from groundstate.simulation.evaluation import computed
from groundstate.simulation.outputs import identity
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.relaxation import RelaxResult

J_PER_M2 = ELEMENTARY_CHARGE_C * 1e20
"""J/m² of 1 eV/Å²."""
THIN_VACUUM = 8.0
"""Å; the least distance between a slab and its image that is not warned of."""


@dataclass(frozen=True)
class SurfaceConfig:
    """How a surface is cut and computed.

    miller       indices of the plane, of the cell given (conventional cells give the usual names)
    termination  number of the cut among those the plane has, `None`: all
    thicknesses  in repeats of the crystal along the normal, at least three · vacuum Å between images
    tolerance_J_per_m2  two fits, with and without the thinnest slab, that differ by less are converged
    """

    miller: tuple[int, int, int]
    termination: int | None = None
    thicknesses: tuple[int, ...] = (2, 3, 4, 5)
    vacuum: float = 15.0
    tolerance_J_per_m2: float = 0.02
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if len(self.miller) != 3 or not any(self.miller):
            raise OptionError("E-MILLER", f"{self.miller} is no plane", fix="give three integers, not all 0")
        if len(set(self.thicknesses)) < 3 or min(self.thicknesses) < 1:
            what = f"thicknesses={self.thicknesses} are too few for a line whose convergence can be seen"
            raise OptionError("E-THICKNESS", what, fix="give at least three different numbers of repeats, e.g. 2,3,4,5")
        options.within("vacuum", self.vacuum, 1.0, 100.0, hint="it is in Å")
        options.within("tolerance_J_per_m2", self.tolerance_J_per_m2, 1e-5, 1.0, hint="it is in J/m²")


@dataclass(frozen=True, eq=False)
class Surface:
    """One termination of a plane.

    energy, unrelaxed  J/m², half the intercept of the line E_slab(n) = 2γA + nE_bulk through all thicknesses
    energy_without_thinnest  of the fit whose first slab is left out · area Å²
    bulk_of_fit, bulk  eV per atom: slope of the line, and the crystal itself, which a converged fit reproduces
    vacuum_change  J/m², of the thickest slab when the vacuum is half as wide again · relaxations thin to thick
    """

    miller: tuple[int, int, int]
    termination: int
    energy: float | None
    energy_without_thinnest: float | None
    unrelaxed: float
    converged: bool
    area: float
    bulk_of_fit: float | None
    bulk: float
    vacuum_change: float
    atoms: tuple[int, ...]
    slabs: tuple[System, ...]
    relaxations: tuple[RelaxResult, ...]
    subtracted: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    record: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Cut:
    """Slabs of one termination, thin to thick; whether both sides are equal, and charged planes add up to a dipole."""

    slabs: tuple[System, ...]
    symmetric: bool
    polar: bool | None


def surfaces(
    crystal: System,
    potential: Potential,
    config: SurfaceConfig,
    *,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[Surface]:
    """Surface energies of a plane of a crystal, one per termination, all slabs in one batch.

    The bulk energy is the slope of the slab energies, so that no error of a separate bulk calculation grows with the
    thickness. Slabs are relaxed in their cell, both sides free; relax the crystal first.
    Source: Fiorentini, Methfessel, J. Phys.: Condens. Matter 8, 6525 (1996).
    Checked: tests/simulation/test_surfaces.py
    """
    if crystal.n_systems != 1:
        raise OptionError("E-BUILDER-ONE", "surfaces are cut from one crystal at a time", fix="give one structure")
    notes = check(crystal, potential.domain, allow)
    cuts = cut(crystal, config)
    record = identity("surfaces", potential.fingerprint(), asdict(config))
    every = [slab for one in cuts for slab in one.slabs]
    limit = config.settings.max_atoms_per_batch
    bulk = float(computed(crystal, potential, None, ("energy",))["energy"]) / crystal.n_atoms
    before = computed(System.batch(every), potential, limit, ("energy",))["energy"].tolist()
    folder = None if output is None else Path(output)
    results = relaxed(every, None, potential, config.settings, allow, folder, progress)
    count, found = len(config.thicknesses), []
    for k, one in enumerate(cuts):
        rows = slice(k * count, (k + 1) * count)
        number = k if config.termination is None else config.termination
        found.append(_surface(one, number, config, potential, bulk, before[rows], results[rows], tuple(notes), record))
    return found


def cut(crystal: System, config: SurfaceConfig) -> list[Cut]:
    """The slabs of every termination asked for."""
    with quietly():
        return _cut(crystal, config)


def _cut(crystal: System, config: SurfaceConfig) -> list[Cut]:
    try:
        from pymatgen.core.surface import SlabGenerator
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING", "cutting slabs needs pymatgen", fix="pip install 'groundstate[pymatgen]'"
        ) from None
    (structure,) = to_pymatgen(crystal)
    charged = structure.copy()
    ionic = len(set(crystal.numbers.tolist())) > 1
    if ionic:
        charged.add_oxidation_state_by_guess(max_sites=-1)
        ionic = any(getattr(site.specie, "oxi_state", 0) for site in charged)
    by_shift: dict[float, list[Any]] = {}
    order = max(abs(index) for index in config.miller)
    one = SlabGenerator(charged, config.miller, 1.0, 1.0, max_normal_search=order).oriented_unit_cell
    height = one.volume / float(torch.linalg.cross(*torch.tensor(one.lattice.matrix[:2].copy())).norm())
    for repeats in sorted(set(config.thicknesses)):
        generator = SlabGenerator(
            charged, config.miller, (repeats - 0.01) * height, 1.0, center_slab=True, max_normal_search=order
        )
        for slab in generator.get_slabs():
            by_shift.setdefault(round(float(slab.shift), 3), []).append(slab)
    whole = [group for _, group in sorted(by_shift.items()) if len(group) == len(set(config.thicknesses))]
    if not whole:
        raise RunError("E-SURFACE-CUT", "no termination exists at every thickness", fix="give thicker slabs")
    if config.termination is not None:
        if not 0 <= config.termination < len(whole):
            what = f"termination {config.termination} does not exist"
            raise OptionError("E-TERMINATION", what, fix=f"this plane has {len(whole)}, counted from 0")
        whole = [whole[config.termination]]
    return [
        Cut(
            tuple(with_vacuum(_plain(slab), config.vacuum) for slab in group),
            bool(group[-1].is_symmetric()),
            bool(group[-1].is_polar()) if ionic else None,
        )
        for group in whole
    ]


def with_vacuum(slab: System, vacuum: float) -> System:
    """The slab in the middle of a cell that leaves this much vacuum (Å) along its normal, the third vector upright."""
    a, b, _ = slab.cell[0]
    normal = torch.linalg.cross(a, b)
    normal = normal / normal.norm()
    height = slab.positions @ normal
    thickness = float(height.max() - height.min())
    cell = torch.stack([a, b, normal * (thickness + vacuum)])
    shift = (0.5 * (thickness + vacuum) - 0.5 * float(height.max() + height.min())) * normal
    return slab.replace(positions=slab.positions + shift, cell=cell[None])


def vacuum_of(slab: System) -> float:
    """The gap between the slab and its image along the third vector, Å."""
    a, b, c = slab.cell[0]
    normal = torch.linalg.cross(a, b)
    normal = normal / normal.norm()
    height = slab.positions @ normal
    return float((c @ normal).abs() - (height.max() - height.min()))


def _plain(slab: Any) -> System:
    """Without oxidation states, and with atoms of one slab on one side of the vacuum."""
    bare = slab.copy()
    bare.remove_oxidation_states()
    single = from_pymatgen(bare).replace(charge=None)
    fractional = single.positions @ torch.linalg.inv(single.cell[0])
    return single.replace(positions=fractional.remainder(1.0) @ single.cell[0])


def _line(atoms: Sequence[int], energies: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of the line through slab energies."""
    x, y = torch.tensor(atoms, dtype=torch.float64), torch.tensor(energies, dtype=torch.float64)
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return float(y.mean()) - slope * float(x.mean()), slope


def _surface(
    one: Cut,
    number: int,
    config: SurfaceConfig,
    potential: Potential,
    bulk: float,
    before: Sequence[float],
    results: Sequence[RelaxResult],
    notes: tuple[str, ...],
    record: Mapping[str, Any],
) -> Surface:
    slabs = one.slabs
    atoms = [slab.n_atoms for slab in slabs]
    area = float(torch.linalg.cross(*slabs[0].cell[0, :2]).norm())
    scale = J_PER_M2 / (2 * area)
    warnings = _doubts(one, slabs[-1], potential)
    energy = thinner = slope = None
    lost = [f"{result.status} at {n} atoms" for n, result in zip(atoms, results, strict=True) if not result.converged]
    if lost:
        warnings.append(f"no surface energy: slabs did not relax ({', '.join(lost)})")
    else:
        after = [float(result.energy) for result in results if result.energy is not None]
        intercept, slope = _line(atoms, after)
        energy, thinner = scale * intercept, scale * _line(atoms[1:], after[1:])[0]
    wide = with_vacuum(slabs[-1], 1.5 * config.vacuum)
    pair = computed(System.batch([slabs[-1], wide]), potential, None, ("energy",))["energy"].tolist()
    change = scale * (pair[1] - pair[0])
    if abs(change) > config.tolerance_J_per_m2:
        warnings.append(f"not converged with the vacuum: {change:+.3g} J/m² when it is half as wide again")
    agree = energy is not None and thinner is not None and abs(energy - thinner) <= config.tolerance_J_per_m2
    if energy is not None and not agree:
        warnings.append(
            f"not converged with thickness: {energy:.3f} J/m², without the thinnest slab {thinner:.3f} J/m²"
        )
    return Surface(
        miller=config.miller,
        termination=number,
        energy=energy,
        energy_without_thinnest=thinner,
        unrelaxed=scale * _line(atoms, before)[0],
        converged=agree and abs(change) <= config.tolerance_J_per_m2,
        area=area,
        bulk_of_fit=slope,
        bulk=bulk,
        vacuum_change=change,
        atoms=tuple(atoms),
        slabs=slabs,
        relaxations=tuple(results),
        subtracted="γ = [E(slab of n atoms) − n E_bulk]/2A, E_bulk the slope of E(slab) over n; both sides counted",
        notes=notes,
        warnings=tuple(warnings),
        record=record,
    )


def _doubts(one: Cut, thickest: System, potential: Potential) -> list[str]:
    found = []
    if not one.symmetric:
        found.append("the two sides of the slab differ: the energy is the mean of both")
    if one.polar:
        found.append("the slab is polar by the usual oxidation states: its energy grows with thickness in nature")
    gap = vacuum_of(thickest)
    if gap < THIN_VACUUM:
        found.append(f"only {gap:.1f} Å of vacuum: slabs feel each other")
    if gap < potential.cutoff:
        found.append(f"the potential reaches {potential.cutoff:g} Å, across the {gap:.1f} Å of vacuum")
    return found
