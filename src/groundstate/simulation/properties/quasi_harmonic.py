"""Thermal expansion in the quasi-harmonic approximation: harmonic phonons at each of several volumes.

F(V, T) = E(V) + F_phonon(V, T) is fitted at every temperature; its minimum is V(T), its curvature B(T), and
C_p = C_V + α² B V T. Anharmonicity at fixed volume is left out, so it is for temperatures well below melting.
Source: Togo, Chaput, Tanaka, Hug, Phys. Rev. B 81, 174301 (2010). The fits are phonopy's.
Checked: tests/simulation/properties/test_quasi_harmonic.py (harmonic lattice, Grüneisen's relation, low temperature).
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, RunError, System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.outputs import identity, run_folder
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.properties import lattice as dynamics
from groundstate.simulation.properties.dielectric import DielectricResponse, fitted
from groundstate.simulation.properties.equation_of_state import EOSConfig, along_volumes, to_minimum
from groundstate.simulation.properties.ground_state import minima, outcomes
from groundstate.simulation.properties.modes import imaginary_modes
from groundstate.simulation.properties.outcome import Outcome, asked, not_relaxed
from groundstate.simulation.properties.phonons import (
    Harmonic,
    PhononConfig,
    force_constants,
    refused_modes,
    supercell_for,
)
from groundstate.simulation.properties.spectrum import bands_of
from groundstate.simulation.properties.symmetry import library, optional
from groundstate.simulation.relaxation import RelaxResult


@dataclass(frozen=True)
class QHAConfig:
    """How thermal expansion is computed.

    volumes          of the static crystal; expansion needs room above 1, the zero-point motion too
    phonons          of each volume; the supercell is chosen once, at the relaxed structure
    temperatures_K   highest of the results, and the step between them
    form             of the fitted free energy: vinet, birch_murnaghan or murnaghan
    """

    volumes: EOSConfig = field(default_factory=lambda: EOSConfig(lowest=0.97, highest=1.06, points=7))
    phonons: PhononConfig = field(default_factory=PhononConfig)
    highest_K: float = 1000.0
    step_K: float = 10.0
    form: str = "vinet"

    def __post_init__(self) -> None:
        options.one_of("form", self.form, ("vinet", "birch_murnaghan", "murnaghan"))
        options.within("highest_K", self.highest_K, 1.0, 1e4, hint="it is in K")
        options.within("step_K", self.step_K, 0.1, 100.0, hint="it is in K")
        if self.highest_K < 4 * self.step_K:
            raise OptionError(
                "E-OPTION-RANGE",
                f"highest_K={self.highest_K:g} is fewer than four steps of {self.step_K:g} K",
                why="derivatives by temperature need neighbours",
                fix="give a smaller step_K",
            )


@dataclass(frozen=True, eq=False)
class ThermalExpansion:
    """Against temperature, at zero pressure, per primitive cell.

    volume Å³ · expansion volumetric α, 1/K (a third of it is linear in a cubic crystal) · bulk_modulus_GPa isothermal
    heat_capacity_P, heat_capacity_V eV/K · gibbs eV · gruneisen thermodynamic, from α, B, V, C_V
    volumes, energies   of the static crystal that were fitted
    """

    temperatures_K: Float[Tensor, " temperature"]
    volume: Float[Tensor, " temperature"]
    expansion: Float[Tensor, " temperature"]
    bulk_modulus_GPa: Float[Tensor, " temperature"]
    heat_capacity_P: Float[Tensor, " temperature"]
    heat_capacity_V: Float[Tensor, " temperature"]
    gibbs: Float[Tensor, " temperature"]
    gruneisen: Float[Tensor, " temperature"]
    volumes: Float[Tensor, " point"]
    energies: Float[Tensor, " point"]
    supercell_atoms: int


def quasi_harmonic(
    system: System,
    potential: Potential,
    config: QHAConfig | None = None,
    *,
    dielectric: Mapping[int, DielectricResponse] | None = None,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[Outcome[ThermalExpansion]]:
    """Thermal expansion of every crystal of a batch; one outcome each, in order.

    All volumes of all crystals relax in one batch, and their displaced supercells are computed together. Refused:
    imaginary modes at a volume, which is named (E-PHONONS-IMAGINARY); V(T) outside the volumes at the lowest
    temperature already (E-QHA-RANGE). Temperatures beyond the range are left out, with a note.
    """
    config, given = config or QHAConfig(), dielectric or {}
    sources = {str(i): response.source for i, response in given.items()}
    made_by = identity("quasi_harmonic", potential.fingerprint(), {**asked(config), "dielectric": sources})
    folder = nullcontext(None) if output is None else run_folder(Path(output), made_by)
    with folder as run:
        where = None if run is None else run.path
        first = to_minimum(config.volumes, "full" if config.volumes.relax_first else "fixed")
        starts = minima(
            system,
            potential,
            first,
            "thermal expansion",
            allow=allow,
            output=where and where / "start",
            progress=progress,
        )
        matrices: dict[int, dynamics.Matrix | GroundstateError] = {}
        for i, start in enumerate(starts):
            if start.problem is None:
                try:
                    matrices[i] = supercell_for(start.system, potential.cutoff, config.phonons)
                except GroundstateError as error:
                    matrices[i] = error
        sound = [i for i, matrix in matrices.items() if not isinstance(matrix, GroundstateError)]
        crystals = [starts[i].system for i in sound]
        series = along_volumes(
            crystals, potential, config.volumes, allow=allow, output=where and where / "volumes", progress=progress
        )
        cells = [result.system for results in series for result in results]
        per_cell = [matrices[i] for i in sound for _ in range(config.volumes.points)]
        lattices = force_constants(
            cells,
            potential,
            config.phonons,
            matrices=[matrix for matrix in per_cell if not isinstance(matrix, GroundstateError)],
            run=run,
            progress=progress,
        )
        n = config.volumes.points
        found = {i: (series[s], lattices[s * n : (s + 1) * n]) for s, i in enumerate(sound)}

    def work(i: int) -> tuple[ThermalExpansion, tuple[str, ...]]:
        matrix = matrices[i]
        if isinstance(matrix, GroundstateError):
            raise matrix
        return _expansion(*found[i], given.get(i), config)

    return outcomes(starts, made_by, work)


def _expansion(
    series: Sequence[RelaxResult],
    lattices: Sequence[Harmonic | GroundstateError],
    given: DielectricResponse | None,
    config: QHAConfig,
) -> tuple[ThermalExpansion, tuple[str, ...]]:
    phonopys, energies = [], []
    for result, found in zip(series, lattices, strict=True):
        if not result.converged:
            raise not_relaxed(f"{result.status} at {result.system.volume[0]:.2f} Å³", result.code, result.reason)
        if isinstance(found, GroundstateError):
            raise found
        lattice = found.lattice
        if given is not None:
            lattice = replace(lattice, dielectric=fitted(given, lattice.cell)[0])
        phonon = dynamics.with_constants(lattice)
        tolerance = config.phonons.imaginary_tolerance_THz
        modes = imaginary_modes(phonon, bands_of(phonon, config.phonons.points_per_segment), tolerance)
        if any(mode.kind != "acoustic noise" for mode in modes):
            ratio = float(result.system.volume[0] / series[0].system.volume[0]) * config.volumes.lowest
            raise refused_modes(modes, f" at a volume of {float(result.system.volume[0]):.3f} Å³ ({ratio:.3f} V₀)")
        phonopys.append(phonon)
        cells = result.system.n_atoms / len(phonon.primitive)
        assert result.energy is not None, "it converged"
        energies.append(result.energy / cells)
    phonopy = optional("phonopy", "thermal expansion")
    grid = np.arange(0.0, config.highest_K + 2.5 * config.step_K, config.step_K)
    try:
        with library():
            qha = phonopy.run_qha(
                phonopys,
                grid,
                internal_energies=energies,
                mesh=config.phonons.mesh_length,
                eos=config.form,
                exclude_gamma_acoustic=True,
            )
    except RunError as error:
        raise _no_minimum(f"no curve fits the free energy ({error.__cause__})") from None
    return _read(qha, energies, config, lattices)


def _read(
    qha: object, energies: list[float], config: QHAConfig, lattices: Sequence[Harmonic | GroundstateError]
) -> tuple[ThermalExpansion, tuple[str, ...]]:
    arrays = {
        name: torch.from_numpy(np.array(getattr(qha, name), dtype=float))
        for name in (
            "temperatures",
            "volumes",
            "equilibrium_volumes",
            "bulk_moduli",
            "thermal_expansion",
            "gibbs_free_energies",
            "gruneisen_parameters",
        )
    }
    cp = torch.from_numpy(np.array(qha.heat_capacity_P.heat_capacities, dtype=float))  # type: ignore[attr-defined]
    volume, volumes = arrays["equilibrium_volumes"], arrays["volumes"]
    inside = (volume > volumes.min()) & (volume < volumes.max())
    wanted = arrays["temperatures"] <= config.highest_K + 1e-9
    last = int(inside.to(torch.int64).cumprod(dim=0).sum())
    if last < 3:
        raise _no_minimum(
            f"the free energy at {float(arrays['temperatures'][0]):g} K has its minimum at {float(volume[0]):.3f} Å³,"
            f" the volumes reach from {float(volumes.min()):.3f} to {float(volumes.max()):.3f} Å³"
        )
    notes: tuple[str, ...] = ()
    if last < int(wanted.sum()):
        notes = (
            f"above {float(arrays['temperatures'][last - 1]):g} K the crystal expands beyond the volumes computed, and"
            " nothing is said: raise volumes.highest",
        )
    kept = slice(0, min(last, int(wanted.sum())))
    temperatures, bulk = arrays["temperatures"][kept], arrays["bulk_moduli"][kept]
    expansion, volume = arrays["thermal_expansion"][kept], volume[kept]
    first = next(found for found in lattices if not isinstance(found, GroundstateError))
    value = ThermalExpansion(
        temperatures_K=temperatures,
        volume=volume,
        expansion=expansion,
        bulk_modulus_GPa=bulk / GIGAPASCAL,
        heat_capacity_P=cp[kept],
        heat_capacity_V=cp[kept] - expansion**2 * bulk * volume * temperatures,
        gibbs=arrays["gibbs_free_energies"][kept],
        gruneisen=arrays["gruneisen_parameters"][kept],
        volumes=volumes,
        energies=torch.tensor(energies, dtype=torch.float64),
        supercell_atoms=first.lattice.constants.shape[0],
    )
    return value, notes


def _no_minimum(what: str) -> RunError:
    return RunError(
        "E-QHA-RANGE",
        what,
        why="an extrapolated volume is a guess",
        fix="move volumes.lowest and volumes.highest so that they enclose the expansion",
    )
