"""Harmonic phonons by finite displacements: the displaced supercells of all structures go through the model together.

Checked: tests/simulation/properties/test_phonons.py (chain, fcc by the Hessian, phonopy by hand), test_lo_to.py
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, RunError, System
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.outputs import RunFolder, identity, run_folder
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.properties import lattice as dynamics
from groundstate.simulation.properties.batches import Found, evaluate_all
from groundstate.simulation.properties.dielectric import DielectricResponse, fitted
from groundstate.simulation.properties.ground_state import minima, outcomes
from groundstate.simulation.properties.lattice import Lattice, Matrix
from groundstate.simulation.properties.modes import ImaginaryMode, imaginary_modes
from groundstate.simulation.properties.outcome import Outcome
from groundstate.simulation.properties.spectrum import Bands, Spectrum, Thermal, spectrum_of
from groundstate.simulation.properties.symmetry import library, symmetry_of
from groundstate.simulation.relaxation import RelaxConfig

BOUNDARY = 0.02
"""Force constants at the border of the supercell, relative to the largest, above which a larger one is advised."""


@dataclass(frozen=True)
class PhononConfig:
    """How phonons are computed.

    supercell             whole-number multiples of the cell's vectors (rows), or `None` for the rule of length
    supercell_length      Å; the smallest repeats whose faces are this far apart. `None`: twice the model's cutoff
    max_supercell_atoms   a rule that asks for more is refused with the number; a matrix given by hand is not limited
    displacement          Å, of one atom at a time; both directions where symmetry does not make them equal
    relax_first           positions and cell to the minimum, down to `force_tolerance` eV/Å or the noise of the model
    imaginary             "report" imaginary modes, or "refuse" the structure for those that are no noise
    imaginary_tolerance_THz   frequencies above minus this are not called imaginary
    temperatures_K        of the thermal properties
    mesh_length           Å, density of the mesh for those and for the density of states
    """

    supercell: Matrix | None = None
    supercell_length: float | None = None
    max_supercell_atoms: int = 1500
    displacement: float = 0.01
    relax_first: bool = True
    force_tolerance: float = 1e-4
    max_steps: int = 1000
    imaginary: str = "report"
    imaginary_tolerance_THz: float = 0.1
    temperatures_K: tuple[float, ...] = tuple(float(t) for t in range(0, 1001, 50))
    mesh_length: float = 60.0
    points_per_segment: int = 51
    symmetry_tolerance: float = 1e-4
    max_atoms_per_batch: int = 1000

    def __post_init__(self) -> None:
        options.one_of("imaginary", self.imaginary, ("report", "refuse"))
        options.within("displacement", self.displacement, 1e-4, 0.3, hint="it is in Å; 0.01 to 0.03")
        options.within("force_tolerance", self.force_tolerance, 1e-10, 1.0, hint="it is in eV/Å")
        options.within("imaginary_tolerance_THz", self.imaginary_tolerance_THz, 0.0, 10.0, hint="it is in THz")
        options.within("mesh_length", self.mesh_length, 1.0, 1e4, hint="it is in Å; phonopy's own is 100")
        options.within("symmetry_tolerance", self.symmetry_tolerance, 1e-8, 0.5, hint="it is in Å")
        for name in ("max_steps", "max_supercell_atoms", "max_atoms_per_batch"):
            options.whole(name, getattr(self, name), 1)
        options.whole("points_per_segment", self.points_per_segment, 2)
        for temperature in self.temperatures_K:
            options.within("temperatures_K", temperature, 0.0, 1e5, hint="it is in K")
        if self.supercell_length is not None:
            options.within("supercell_length", self.supercell_length, 1.0, 200.0, hint="it is in Å")
        if self.supercell is not None and abs(np.linalg.det(np.array(self.supercell))) < 0.5:
            raise OptionError(
                "E-SUPERCELL", "the supercell has no volume", fix="give ((n, 0, 0), (0, n, 0), (0, 0, n))"
            )


@dataclass(frozen=True, eq=False)
class Phonons:
    """Phonons of one crystal; frequencies in THz (times `lattice.PER_CM` in cm⁻¹), imaginary ones negative.

    lattice          force constants, from which any other wave vector follows (`lattice.frequencies`)
    bands, spectrum, thermal   along the path of high symmetry; density of states; against temperature
    gamma_THz        at Γ without a macroscopic field (transverse) · gamma_directions_THz approached along x, y, z
    imaginary        modes below the tolerance, each classified
    residual_force   the largest force in the undisplaced supercell, eV/Å, subtracted from all others
    sum_rule         largest violation of the acoustic sum rule before it was imposed, eV/Å²
    boundary         largest force constant at the border of the supercell over the largest of all
    displacements, supercell_atoms   how many were computed
    """

    lattice: Lattice
    bands: Bands
    spectrum: Spectrum
    thermal: Thermal
    gamma_THz: Float[Tensor, " branch"]
    gamma_directions_THz: Float[Tensor, "3 branch"]
    imaginary: tuple[ImaginaryMode, ...]
    residual_force: float
    sum_rule: float
    boundary: float
    displacements: int
    supercell_atoms: int
    space_group: str

    @property
    def stable(self) -> bool:
        """No imaginary mode but noise of the acoustic branches near Γ."""
        return all(mode.kind == "acoustic noise" for mode in self.imaginary)


def phonons(
    system: System,
    potential: Potential,
    config: PhononConfig | None = None,
    *,
    dielectric: Mapping[int, DielectricResponse] | None = None,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[Outcome[Phonons]]:
    """Phonons of every crystal of a batch; one outcome each, in order.

    dielectric   by index of the structure, for the splitting of longitudinal from transverse modes
    Refused: a structure that does not relax (E-PROPERTY-NOT-RELAXED), a supercell beyond the limit (E-SUPERCELL),
    imaginary modes where `imaginary="refuse"` (E-PHONONS-IMAGINARY). With `output`, relaxations and the forces of
    finished displacements are kept by the hash of their content, and the same call continues.
    """
    config, given = config or PhononConfig(), dielectric or {}
    sources = {str(i): response.source for i, response in given.items()}
    made_by = identity("phonons", potential.fingerprint(), {**asdict(config), "dielectric": sources})
    folder = nullcontext(None) if output is None else run_folder(Path(output), made_by)
    with folder as run:
        relaxation = RelaxConfig(
            cell="full" if config.relax_first else "fixed",
            force_tolerance=config.force_tolerance if config.relax_first else 10.0,
            max_steps=config.max_steps,
            max_atoms_per_batch=config.max_atoms_per_batch,
        )
        where = None if run is None else run.path / "start"
        starts = minima(system, potential, relaxation, "phonons", allow=allow, output=where, progress=progress)
        sound = [i for i, start in enumerate(starts) if start.problem is None]
        found = force_constants([starts[i].system for i in sound], potential, config, run=run, progress=progress)
        computed = dict(zip(sound, found, strict=True))
    return outcomes(starts, made_by, lambda i: _finished(computed[i], given.get(i), config))


@dataclass(frozen=True, eq=False)
class Harmonic:
    """Force constants with what must be known of them; `displacements` were computed."""

    lattice: Lattice
    residual_force: float
    sum_rule: float
    boundary: float
    displacements: int


def force_constants(
    crystals: Sequence[System],
    potential: Potential,
    config: PhononConfig,
    *,
    matrices: Sequence[Matrix] | None = None,
    run: RunFolder | None = None,
    progress: Callback = silent,
) -> list[Harmonic | GroundstateError]:
    """Force constants of every crystal, or the refusal of it; all displaced supercells in packed batches.

    matrices   supercells to use in place of the rule
    """
    prepared: list[tuple[Any, Matrix] | GroundstateError] = []
    structures: list[System] = []
    spans: list[slice] = []
    for i, cell in enumerate(crystals):
        begin = len(structures)
        try:
            matrix = supercell_for(cell, potential.cutoff, config) if matrices is None else matrices[i]
            phonon = dynamics.phonopy_of(cell, matrix, config.symmetry_tolerance)
            with library():
                phonon.generate_displacements(distance=config.displacement)
            structures += dynamics.supercells(phonon, cell)
            prepared.append((phonon, matrix))
        except GroundstateError as error:
            prepared.append(error)
        spans.append(slice(begin, len(structures)))
    rows = evaluate_all(
        potential, structures, ("energy", "forces"), max_atoms=config.max_atoms_per_batch, run=run, progress=progress
    )
    results: list[Harmonic | GroundstateError] = []
    for cell, made, span in zip(crystals, prepared, spans, strict=True):
        if isinstance(made, GroundstateError):
            results.append(made)
            continue
        failed = next((row for row in rows[span] if isinstance(row, GroundstateError)), None)
        results.append(failed or _constants(cell, *made, rows[span], config))
    return results


def supercell_for(cell: System, cutoff: float, config: PhononConfig) -> Matrix:
    """The matrix asked for, or the smallest repeats whose faces are `supercell_length` apart."""
    if config.supercell is not None:
        return config.supercell
    length = config.supercell_length or 2 * cutoff
    heights = 1 / torch.linalg.vector_norm(torch.linalg.inv(cell.cell[0]), dim=0)
    a, b, c = (max(1, ceil(length / height - 1e-6)) for height in heights.tolist())
    if a * b * c * cell.n_atoms > config.max_supercell_atoms:
        raise OptionError(
            "E-SUPERCELL",
            f"faces {length:.1f} Å apart need a supercell of {a}×{b}×{c} cells, {a * b * c * cell.n_atoms} atoms",
            why=f"the limit is max_supercell_atoms={config.max_supercell_atoms}",
            fix="raise the limit, or give a smaller supercell_length or a supercell, and mind the boundary",
        )
    return ((a, 0, 0), (0, b, 0), (0, 0, c))


def _constants(
    cell: System, phonon: Any, matrix: Matrix, rows: Sequence[Found | GroundstateError], config: PhononConfig
) -> Harmonic:
    forces = [row["forces"].cpu() for row in rows if not isinstance(row, GroundstateError)]
    rest, displaced = forces[0], torch.stack(forces[1:])
    with library():
        phonon.forces = (displaced - rest).numpy()
        phonon.produce_force_constants(calculate_full_force_constants=True, show_drift=False)
        raw = torch.from_numpy(np.array(phonon.force_constants))
        phonon.symmetrize_force_constants(show_drift=False)
    constants = torch.from_numpy(np.array(phonon.force_constants))
    return Harmonic(
        Lattice(cell.to("cpu"), matrix, constants, None, config.symmetry_tolerance),
        residual_force=float(torch.linalg.vector_norm(rest, dim=1).max()),
        sum_rule=float(raw.sum(dim=1).abs().max()),
        boundary=_boundary(phonon, constants),
        displacements=len(displaced),
    )


def _boundary(phonon: Any, constants: Float[Tensor, "atom atom_2 3 3"]) -> float:
    """Largest |Φ| between atoms further apart than 0.9 of the smallest half width, over the largest of a pair."""
    cell = torch.from_numpy(np.array(phonon.supercell.cell))
    rows = torch.as_tensor(np.array(phonon.primitive.p2s_map), dtype=torch.int64)
    positions = torch.from_numpy(np.array(phonon.supercell.positions))
    reach = 0.9 * 0.5 / float(torch.linalg.vector_norm(torch.linalg.inv(cell), dim=0).max())
    shifts = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * 3) @ cell
    apart = positions[None, :] - positions[rows][:, None]
    fractional = apart @ torch.linalg.inv(cell)
    apart = (fractional - fractional.round()) @ cell
    distance = torch.linalg.vector_norm(apart[:, :, None] + shifts, dim=-1).amin(dim=-1)
    size = constants[rows].abs().amax(dim=(-2, -1))
    pairs = distance > 1e-3
    if not bool(pairs.any()):
        return 1.0
    far = size[distance > reach]
    return float(far.max() / size[pairs].max().clamp_min(1e-300)) if far.numel() else 0.0


def _finished(
    found: Harmonic | GroundstateError, given: DielectricResponse | None, config: PhononConfig
) -> tuple[Phonons, tuple[str, ...]]:
    if isinstance(found, GroundstateError):
        raise found
    notes: list[str] = []
    lattice = found.lattice
    if given is not None:
        response, notes_of_charges = fitted(given, lattice.cell)
        notes += notes_of_charges
        lattice = Lattice(lattice.cell, lattice.supercell, lattice.constants, response, lattice.symmetry_tolerance)
    value = analysed(lattice, config, found)
    if value.boundary > BOUNDARY:
        notes.append(
            f"force constants at the border of the supercell are still {100 * value.boundary:.2g} % of the largest:"
            " repeat with a larger supercell to see what changes"
        )
    if value.residual_force > max(10 * config.force_tolerance, 0.01):
        notes.append(f"the undisplaced supercell carries forces of {value.residual_force:.2g} eV/Å: is it a minimum?")
    if value.imaginary:
        worst = min(value.imaginary, key=lambda mode: mode.frequency_THz)
        notes.append(f"{len(value.imaginary)} imaginary mode(s), the worst: {worst}")
    if not value.stable and config.imaginary == "refuse":
        raise refused_modes(value.imaginary)
    return value, tuple(notes)


def analysed(lattice: Lattice, config: PhononConfig, found: Harmonic) -> Phonons:
    """Bands, density of states, thermal properties and imaginary modes of a lattice."""
    phonon = dynamics.with_constants(lattice)
    bands, spectrum, thermal = spectrum_of(
        phonon, config.points_per_segment, config.mesh_length, config.temperatures_K, config.imaginary_tolerance_THz
    )
    gamma = torch.zeros(1, 3, dtype=torch.float64)
    directions = [dynamics.frequencies_of(phonon, gamma, direction=axis)[0][0] for axis in np.eye(3).tolist()]
    return Phonons(
        lattice=lattice,
        bands=bands,
        spectrum=spectrum,
        thermal=thermal,
        gamma_THz=dynamics.frequencies_of(phonon, gamma)[0][0],
        gamma_directions_THz=torch.stack(directions),
        imaginary=imaginary_modes(phonon, bands, config.imaginary_tolerance_THz),
        residual_force=found.residual_force,
        sum_rule=found.sum_rule,
        boundary=found.boundary,
        displacements=found.displacements,
        supercell_atoms=lattice.constants.shape[0],
        space_group=symmetry_of(lattice.cell, lattice.symmetry_tolerance).international,
    )


def refused_modes(modes: Sequence[ImaginaryMode], where: str = "") -> RunError:
    """The refusal of a crystal that is no minimum."""
    real = [mode for mode in modes if mode.kind != "acoustic noise"]
    worst = min(real, key=lambda mode: mode.frequency_THz)
    return RunError(
        "E-PHONONS-IMAGINARY",
        f"{len(real)} imaginary mode(s){where}, the worst: {worst}",
        why="the structure is a saddle of its energy, and harmonic properties of it do not exist",
        fix="follow the mode to the structure of lower symmetry (follow_mode), or imaginary='report'",
    )
