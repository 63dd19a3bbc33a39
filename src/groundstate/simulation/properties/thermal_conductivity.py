"""Lattice thermal conductivity from three-phonon scattering, in the relaxation time approximation, by phono3py.

The displaced supercells of all crystals (pairs of displacements, many) are computed in packed batches; phono3py does
the symmetry, the third-order constants and the scattering rates.
Source: Togo, Chaput, Tanaka, Phys. Rev. B 91, 094306 (2015).
Checked: tests/simulation/properties/test_thermal_conductivity.py
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, System
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.outputs import identity, run_folder
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.properties import lattice as dynamics
from groundstate.simulation.properties.batches import Found, evaluate_all
from groundstate.simulation.properties.ground_state import minima, outcomes
from groundstate.simulation.properties.modes import imaginary_modes
from groundstate.simulation.properties.outcome import Outcome, asked
from groundstate.simulation.properties.phonons import PhononConfig, refused_modes, supercell_for
from groundstate.simulation.properties.spectrum import bands_of
from groundstate.simulation.properties.symmetry import library, optional

CONVERGED = 0.1
"""Relative change of κ between the two meshes above which the mesh is not converged."""


@dataclass(frozen=True)
class ConductivityConfig:
    """How heat transport is computed.

    phonons          supercell, tolerances and relaxation; one supercell serves second and third order
    displacement     Å, of the two atoms displaced at once
    mesh             wave vectors along each reciprocal vector; a second mesh of three quarters of it tells convergence
    max_displaced    a crystal that needs more displaced supercells than this is refused with the number
    """

    phonons: PhononConfig = field(default_factory=lambda: PhononConfig(supercell=((2, 0, 0), (0, 2, 0), (0, 0, 2))))
    displacement: float = 0.03
    mesh: int = 12
    temperatures_K: tuple[float, ...] = (200.0, 300.0, 400.0, 500.0, 600.0, 800.0, 1000.0)
    max_displaced: int = 5000

    def __post_init__(self) -> None:
        options.within("displacement", self.displacement, 1e-3, 0.3, hint="it is in Å; 0.03 is usual")
        options.whole("mesh", self.mesh, 4)
        options.whole("max_displaced", self.max_displaced, 1)
        for temperature in self.temperatures_K:
            options.within("temperatures_K", temperature, 1.0, 1e5, hint="it is in K")


@dataclass(frozen=True, eq=False)
class ThermalConductivity:
    """κ of the lattice, W/(m·K), Cartesian tensor per temperature; `coarse` on the mesh of three quarters.

    mesh_error the largest relative difference between the two · displaced supercells computed
    """

    temperatures_K: Float[Tensor, " temperature"]
    kappa: Float[Tensor, "temperature 3 3"]
    coarse: Float[Tensor, "temperature 3 3"]
    mesh: int
    mesh_error: float
    displaced: int
    supercell_atoms: int


def thermal_conductivity(
    system: System,
    potential: Potential,
    config: ConductivityConfig | None = None,
    *,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[Outcome[ThermalConductivity]]:
    """Thermal conductivity of every crystal of a batch; one outcome each, in order.

    Three-phonon scattering only: no isotopes, no boundaries, no fourth order, no electrons. Refused: imaginary modes
    (E-PHONONS-IMAGINARY), too many displacements (E-SUPERCELL), phono3py absent (E-EXTRA-MISSING).
    """
    config = config or ConductivityConfig()
    optional("phono3py", "thermal conductivity")
    harmonic = config.phonons
    made_by = identity("thermal_conductivity", potential.fingerprint(), asked(config))
    folder = nullcontext(None) if output is None else run_folder(Path(output), made_by)
    with folder as run:
        where = None if run is None else run.path / "start"
        starts = minima(
            system, potential, harmonic.relaxation, "thermal conductivity", allow=allow, output=where, progress=progress
        )
        prepared: dict[int, Any] = {}
        structures: list[System] = []
        spans: dict[int, slice] = {}
        for i, start in enumerate(starts):
            if start.problem is not None:
                continue
            begin = len(structures)
            try:
                prepared[i], displaced = _prepared(start.system, potential.cutoff, config)
                structures += displaced
            except GroundstateError as error:
                prepared[i] = error
            spans[i] = slice(begin, len(structures))
        rows = evaluate_all(
            potential,
            structures,
            ("energy", "forces"),
            max_atoms=harmonic.max_atoms_per_batch,
            run=run,
            progress=progress,
        )

    def work(i: int) -> tuple[ThermalConductivity, tuple[str, ...]]:
        if isinstance(prepared[i], GroundstateError):
            raise prepared[i]
        return _conductivity(prepared[i], rows[spans[i]], config)

    return outcomes(starts, made_by, work)


def _prepared(cell: System, cutoff: float, config: ConductivityConfig) -> tuple[Any, list[System]]:
    """phono3py with its displacements; the undisplaced supercell and every displaced one."""
    phono3py = optional("phono3py", "thermal conductivity")
    matrix = supercell_for(cell, cutoff, config.phonons)
    with library():
        three = phono3py.Phono3py(
            dynamics.atoms_of(cell),
            supercell_matrix=np.array(matrix),
            primitive_matrix="auto",
            symprec=config.phonons.symmetry_tolerance,
            log_level=0,
        )
        three.generate_displacements(distance=config.displacement)
        displaced = list(three.supercells_with_displacements)
    if len(displaced) > config.max_displaced:
        raise OptionError(
            "E-SUPERCELL",
            f"{len(displaced)} displaced supercells of {len(three.supercell)} atoms are needed",
            why=f"the limit is max_displaced={config.max_displaced}",
            fix="raise the limit, or give a smaller supercell or a more symmetric structure",
        )
    unit = three.supercell.u2u_map
    origin = [unit[int(s)] for s in three.supercell.s2u_map]
    return three, [dynamics.as_system(atoms, cell, origin) for atoms in (three.supercell, *displaced)]


def _conductivity(
    three: Any, rows: Sequence[Found | GroundstateError], config: ConductivityConfig
) -> tuple[ThermalConductivity, tuple[str, ...]]:
    for row in rows:
        if isinstance(row, GroundstateError):
            raise row
    forces = torch.stack([row["forces"].cpu() for row in rows if not isinstance(row, GroundstateError)])
    with library():
        three.forces = (forces[1:] - forces[0]).numpy()
        three.produce_fc3(symmetrize_fc3r=True)
        three.produce_fc2(symmetrize_fc2=True)
    _refuse_unstable(three, config.phonons)
    fine, coarse = (_on_mesh(three, n, config.temperatures_K) for n in (config.mesh, max(3, config.mesh * 3 // 4)))
    error = float(((fine - coarse).abs().amax(dim=(1, 2)) / fine.abs().amax(dim=(1, 2))).max())
    notes = ["three-phonon scattering in the relaxation time approximation: no isotopes, boundaries or fourth order"]
    if error > CONVERGED:
        notes.append(
            f"not converged in the mesh: κ changes by {100 * error:.2g} % from {config.mesh * 3 // 4} to {config.mesh}"
            " wave vectors a side"
        )
    value = ThermalConductivity(
        torch.tensor(config.temperatures_K, dtype=torch.float64),
        fine,
        coarse,
        config.mesh,
        error,
        displaced=len(forces) - 1,
        supercell_atoms=len(three.supercell),
    )
    return value, tuple(notes)


def _on_mesh(three: Any, n: int, temperatures_K: Sequence[float]) -> Float[Tensor, "temperature 3 3"]:
    with library():
        three.mesh_numbers = [n, n, n]
        three.init_phph_interaction()
        three.run_thermal_conductivity(temperatures=np.array(temperatures_K))
    voigt = np.array(three.thermal_conductivity.kappa, dtype=float).reshape(len(temperatures_K), 6)
    xx, yy, zz, yz, xz, xy = torch.from_numpy(voigt).T
    return torch.stack([torch.stack(row, dim=-1) for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))], dim=-2)


def _refuse_unstable(three: Any, config: PhononConfig) -> None:
    phonopy = optional("phonopy", "lattice dynamics")
    with library():
        phonon = phonopy.Phonopy(
            three.unitcell,
            supercell_matrix=three.supercell_matrix,
            primitive_matrix=three.primitive_matrix,
            symprec=config.symmetry_tolerance,
            log_level=0,
        )
        phonon.force_constants = three.fc2
    modes = imaginary_modes(phonon, bands_of(phonon, config.points_per_segment), config.imaginary_tolerance_THz)
    if any(mode.kind != "acoustic noise" for mode in modes):
        raise refused_modes(modes)
