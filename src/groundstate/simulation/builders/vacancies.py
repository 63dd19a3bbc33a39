"""Neutral vacancies: which sites differ, what it costs to take an atom away, and how large a cell that needs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from groundstate.atoms import Allowances, OptionError, RunError, System, check
from groundstate.atoms.elements import symbols
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.builders.settings import Settings, quietly, relaxed, repeated, widths
from groundstate.simulation.evaluation import computed
from groundstate.simulation.outputs import identity
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.relaxation import RelaxResult


@dataclass(frozen=True)
class VacancyConfig:
    """How vacancies are computed.

    chemical_potentials  eV per atom of each element taken away: the energy of the reservoir it goes to, by the same
                         model. Of a crystal of one element it may be left out: the reservoir is the crystal itself
    elements      symbols to take away, empty: all
    tolerance_eV  formation energies of two sizes of cell that differ by less are converged
    first_width   Å between a vacancy and its images in the smallest cell · max_atoms of the largest
    symprec       Å; tolerance of the symmetry that tells sites apart
    """

    chemical_potentials: Mapping[str, float] = field(default_factory=dict)
    elements: tuple[str, ...] = ()
    tolerance_eV: float = 0.02
    first_width: float = 7.0
    max_atoms: int = 300
    symprec: float = 0.01
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        options.within("tolerance_eV", self.tolerance_eV, 1e-5, 1.0, hint="it is in eV")
        options.within("first_width", self.first_width, 1.0, 50.0, hint="it is in Å")
        options.whole("max_atoms", self.max_atoms, 2)
        options.within("symprec", self.symprec, 1e-6, 0.5, hint="it is in Å")


@dataclass(frozen=True, eq=False)
class VacancySize:
    """One supercell: repeats of the given cell, its atoms, formation energy after and before relaxation, eV."""

    repeats: tuple[int, int, int]
    atoms: int
    formation_energy: float | None
    unrelaxed: float
    relaxation: RelaxResult


@dataclass(frozen=True, eq=False)
class Vacancy:
    """A vacancy at one of the sites that symmetry tells apart.

    site an atom of the given cell · equivalent how many of its atoms are the same by symmetry
    formation_energy  eV, of the largest cell · converged with size, and relaxed · subtracted: how it is a difference
    """

    element: str
    site: int
    equivalent: int
    sizes: tuple[VacancySize, ...]
    formation_energy: float | None
    converged: bool
    subtracted: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    record: Mapping[str, Any]


def vacancies(
    crystal: System,
    potential: Potential,
    config: VacancyConfig | None = None,
    *,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[Vacancy]:
    """Formation energies of the vacancies of a crystal: E(with vacancy) − E(perfect) + μ of the atom taken away.

    The cell is repeated, as evenly as its shape allows, until the energy changes by less than the tolerance; all sites
    of a size are one batch. The crystal is taken as it is: relax its cell first. Raises OptionError without a chemical
    potential that is needed.
    Checked: tests/simulation/test_vacancies.py
    """
    config = config or VacancyConfig()
    if crystal.n_systems != 1:
        raise OptionError("E-BUILDER-ONE", "vacancies are made in one crystal at a time", fix="give one structure")
    notes = check(crystal, potential.domain, allow)
    sites = distinct_sites(crystal, config.symprec)
    if config.elements:
        sites = {site: count for site, count in sites.items() if _symbol(crystal, site) in config.elements}
        if not sites:
            what = f"the crystal has no {', '.join(config.elements)}"
            raise OptionError("E-VACANCY-ELEMENT", what, fix=f"it has {', '.join(sorted(set(_all(crystal))))}")
    at_rest = computed(crystal, potential, None, ("energy", "forces"))
    potentials = _chemical_potentials(crystal, float(at_rest["energy"]) / crystal.n_atoms, sites, config)
    record = identity("vacancies", potential.fingerprint(), asdict(config))
    warnings = []
    if (
        largest := float(torch.linalg.vector_norm(at_rest["forces"], dim=1).max())
    ) > 2 * config.settings.force_tolerance:
        warnings.append(f"the crystal is not relaxed (largest force {largest:.3g} eV/Å): its relaxation is counted in")
    done: dict[int, list[VacancySize]] = {site: [] for site in sites}
    for repeats in sizes(crystal, config.first_width, config.max_atoms):
        waiting = [site for site in sites if not _settled(done[site], config)]
        if not waiting:
            break
        folder = None if output is None else Path(output) / "x".join(map(str, repeats))
        for site, size in _one_size(crystal, potential, config, repeats, waiting, potentials, allow, folder, progress):
            done[site].append(size)
    return [
        _vacancy(crystal, site, sites[site], done[site], potentials, config, (notes, warnings), record)
        for site in sites
    ]


def distinct_sites(crystal: System, symprec: float) -> dict[int, int]:
    """The first atom of each class of equivalent ones, and how many the class has."""
    try:
        import spglib
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING", "telling sites apart needs spglib", fix="pip install 'groundstate[phonons]'"
        ) from None
    fractional = crystal.positions @ torch.linalg.inv(crystal.cell[0])
    cell = (crystal.cell[0].cpu().numpy(), fractional.cpu().numpy(), crystal.numbers.cpu().numpy())
    with quietly():
        found = spglib.get_symmetry_dataset(cell, symprec=symprec)
    if found is None:
        raise RunError("E-SYMMETRY", f"no symmetry was found at symprec={symprec:g} Å", fix="try another symprec")
    classes = found.equivalent_atoms.tolist()
    return {site: classes.count(site) for site in sorted(set(classes))}


def sizes(crystal: System, first_width: float, max_atoms: int) -> list[tuple[int, int, int]]:
    """Repeats of growing, evenly shaped supercells: the smallest reaches `first_width` Å in every direction."""
    across, found = widths(crystal), list[tuple[int, int, int]]()
    width = first_width
    while True:
        repeats = tuple(max(1, -int(-width // w)) for w in across)
        atoms = crystal.n_atoms * repeats[0] * repeats[1] * repeats[2]
        if atoms > max_atoms and found:
            return found
        if (repeats[0], repeats[1], repeats[2]) not in found:
            found.append((repeats[0], repeats[1], repeats[2]))
        if atoms > max_atoms:
            return found
        width = min(w * (n + 1) for w, n in zip(across, repeats, strict=True)) - 1e-9


def without(crystal: System, atom: int) -> System:
    """The structure less one atom."""
    kept = torch.tensor([k for k in range(crystal.n_atoms) if k != atom], device=crystal.device)
    return crystal.replace(
        positions=crystal.positions[kept],
        numbers=crystal.numbers[kept],
        masses=crystal.masses[kept],
        moments=None if crystal.moments is None else crystal.moments[kept],
        system_ptr=torch.tensor([0, len(kept)], device=crystal.device),
    )


def _one_size(
    crystal: System,
    potential: Potential,
    config: VacancyConfig,
    repeats: tuple[int, int, int],
    sites: list[int],
    potentials: Mapping[str, float],
    allow: Allowances | None,
    folder: Path | None,
    progress: Callback,
) -> list[tuple[int, VacancySize]]:
    perfect = repeated(crystal, repeats)
    broken = [without(perfect, site) for site in sites]
    energies = computed(System.batch([perfect, *broken]), potential, config.settings.max_atoms_per_batch, ("energy",))
    whole, *before = energies["energy"].tolist()
    results = relaxed(broken, None, potential, config.settings, allow, folder, progress)
    found = []
    for site, result, start in zip(sites, results, before, strict=True):
        mu = potentials[_symbol(crystal, site)]
        after = None if result.energy is None or not result.converged else result.energy - whole + mu
        found.append((site, VacancySize(repeats, perfect.n_atoms - 1, after, start - whole + mu, result)))
    return found


def _settled(done: list[VacancySize], config: VacancyConfig) -> bool:
    """Whether two sizes agree, or one could not be relaxed."""
    energies = [size.formation_energy for size in done[-2:]]
    if any(energy is None for energy in energies):
        return True
    return len(energies) == 2 and abs(energies[1] - energies[0]) <= config.tolerance_eV  # type: ignore[operator]


def _vacancy(
    crystal: System,
    site: int,
    equivalent: int,
    done: list[VacancySize],
    potentials: Mapping[str, float],
    config: VacancyConfig,
    words: tuple[list[str], list[str]],
    record: Mapping[str, Any],
) -> Vacancy:
    element, last = _symbol(crystal, site), done[-1]
    warnings = list(words[1])
    if last.formation_energy is None:
        warnings.append(
            f"the cell of {last.atoms} atoms did not relax ({last.relaxation.status}: {last.relaxation.reason})"
        )
    elif not _settled(done, config):
        seen = ", ".join(f"{s.formation_energy:.3f} eV ({s.atoms} atoms)" for s in done[-2:] if s.formation_energy)
        warnings.append(f"not converged with the size of the cell within {config.tolerance_eV:g} eV: {seen}")
    converged = last.formation_energy is not None and len(done) > 1 and _settled(done, config)
    return Vacancy(
        element=element,
        site=site,
        equivalent=equivalent,
        sizes=tuple(done),
        formation_energy=last.formation_energy,
        converged=converged,
        subtracted=(
            f"E({last.atoms} atoms, {element} vacancy) − E(perfect, {last.atoms + 1} atoms) + μ({element}),"
            f" μ({element}) = {potentials[element]:.6g} eV"
        ),
        notes=(*words[0], "neutral vacancy at fixed cell: no charge states, no entropy"),
        warnings=tuple(warnings),
        record=record,
    )


def _chemical_potentials(
    crystal: System, per_atom: float, sites: Mapping[int, int], config: VacancyConfig
) -> dict[str, float]:
    known = dict(config.chemical_potentials)
    if len(set(_all(crystal))) == 1:
        known = {_symbol(crystal, 0): per_atom} | known
    missing = sorted({_symbol(crystal, site) for site in sites} - known.keys())
    if missing:
        raise OptionError(
            "E-CHEMICAL-POTENTIAL",
            f"no chemical potential is given for {', '.join(missing)}",
            why="the formation energy of a vacancy in a compound depends on where the atom goes",
            fix="give eV per atom of the reservoir by the same model, e.g. of the element",
        )
    return known


def _symbol(crystal: System, atom: int) -> str:
    return symbols([int(crystal.numbers[atom])])[0]


def _all(crystal: System) -> list[str]:
    return symbols(crystal.numbers.tolist())
