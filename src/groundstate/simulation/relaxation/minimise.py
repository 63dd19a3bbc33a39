"""Relaxation as (state, init, step): a batch of structures going downhill, each with its own step length and fate."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import GroundstateError, OptionError, System
from groundstate.atoms.units import GIGAPASCAL
from groundstate.simulation import options
from groundstate.simulation.engine import Engine
from groundstate.simulation.relaxation import fire, lbfgs
from groundstate.simulation.relaxation.cell_filter import CELL_MODES, CellFilter, cell_filter
from groundstate.simulation.relaxation.coordinates import Coordinates
from groundstate.simulation.relaxation.fire import FireState
from groundstate.simulation.relaxation.lbfgs import LbfgsState
from groundstate.simulation.relaxation.symmetry import Symmetry
from groundstate.simulation.states import choose

MINIMISERS = {"fire": fire, "lbfgs": lbfgs}
"""Each with `at_rest`, `advance`, `retreated`, and a state that structures enter and leave."""
BACKOFFS = 3
"""Retreats to the best frame before a relaxation counts as diverged."""
ENERGY_RISE = 1.0
"""eV per atom above the best frame that no minimiser climbs on its way down."""
FORCE_GROWTH, FORCE_FLOOR = 10.0, 10.0
"""A force that outgrows its start by this factor, and this many eV/Å, is a blow-up."""
NO_PROGRESS = 100
"""Steps in which the largest force has not halved, after which it is taken for noise."""


@dataclass(frozen=True)
class RelaxConfig:
    """How structures are relaxed.

    force_tolerance       eV/Å; converged when the largest force on a free atom, and the largest row of the cell force,
                          is below it (ASE's `fmax` with FrechetCellFilter). Forces of a float32 potential are noise
                          about 1e-3 eV/Å, so smaller tolerances need float64
    max_steps             steps before a structure ends as `max_steps`
    minimiser             `lbfgs` learns the curvature and needs a third of the steps of `fire`, which has inertia
    cell                  `fixed`, `full`, `shape` (constant volume) or `isotropic` (shape kept)
    cell_mask             which components of the strain may change, 3×3, symmetric; crystals, and slabs along the axes
    pressure_GPa          external pressure, crystals with a cell that relaxes; the enthalpy E + pV is minimised
    keep_symmetry         Å; the operations that spglib finds within it are kept; 0.01 is usual. `None`: not kept
    max_step              Å; the longest displacement of an atom in a step
    max_volume_change     a larger ratio of volumes, up or down, is a run-away
    skin                  Å; neighbour lists reach further by this and are rebuilt less often
    max_atoms_per_batch   structures computed together; a finished one is replaced from the queue. `None`: as many as
                          memory is forecast to hold
    """

    force_tolerance: float = 0.01
    max_steps: int = 500
    minimiser: str = "lbfgs"
    cell: str = "fixed"
    cell_mask: tuple[tuple[bool, bool, bool], ...] | None = None
    pressure_GPa: float = 0.0
    keep_symmetry: float | None = None
    max_step: float = 0.2
    max_volume_change: float = 2.0
    skin: float = 1.0
    max_atoms_per_batch: int | None = None

    def __post_init__(self) -> None:
        options.one_of("cell", self.cell, CELL_MODES)
        options.one_of("minimiser", self.minimiser, tuple(MINIMISERS))
        hint = "it is in eV/Å; 0.01 to 0.05 for structures, 1e-4 for phonons"
        options.within("force_tolerance", self.force_tolerance, 1e-10, 10.0, hint=hint)
        options.whole("max_steps", self.max_steps, 1)
        options.within("pressure_GPa", self.pressure_GPa, -100.0, 5000.0, hint="it is in GPa; 1 GPa = 10 kbar")
        options.within("max_step", self.max_step, 1e-4, 1.0, hint="it is in Å")
        options.within("max_volume_change", self.max_volume_change, 1.0 + 1e-6, 1e3, hint="it is a ratio, e.g. 2")
        options.within("skin", self.skin, 0.0, 5.0, hint="it is in Å")
        if self.keep_symmetry is not None:
            options.within(
                "keep_symmetry", self.keep_symmetry, 1e-6, 0.5, hint="it is spglib's symprec in Å, e.g. 0.01"
            )
        if self.max_atoms_per_batch is not None:
            options.whole("max_atoms_per_batch", self.max_atoms_per_batch, 1)
        if self.cell == "fixed" and (self.pressure_GPa != 0 or self.cell_mask is not None):
            raise OptionError(
                "E-OPTION-CONFLICT",
                "a pressure or a cell mask was given and the cell is fixed",
                why="neither has anything to act on",
                fix="choose cell='full', 'shape' or 'isotropic', or drop them",
            )
        if self.cell_mask is not None:
            rows = torch.tensor(self.cell_mask)
            if rows.shape != (3, 3) or not torch.equal(rows, rows.T) or not bool(rows.any()):
                raise OptionError(
                    "E-CELL-MASK",
                    "the cell mask must be a symmetric 3×3 table with at least one component free",
                    why="a strain is symmetric",
                    fix="give ((xx, xy, xz), (yx, yy, yz), (zx, zy, zz)) of true and false",
                )

    @property
    def mask(self) -> Bool[Tensor, "3 3"] | None:
        """The cell mask as a tensor."""
        return None if self.cell_mask is None else torch.tensor(self.cell_mask)


@dataclass(frozen=True, eq=False)
class Frame:
    """One geometry of each structure and what was computed there; eV, Å.

    `max_force` is of free atoms, and of the symmetric part of the forces where symmetry is kept.
    """

    coordinates: Coordinates
    energy: Float[Tensor, " system"]
    enthalpy: Float[Tensor, " system"]
    forces: Float[Tensor, "atom 3"]
    strain_gradient: Float[Tensor, "system 3 3"]
    max_force: Float[Tensor, " system"]
    max_cell_force: Float[Tensor, " system"]

    @property
    def residual(self) -> Float[Tensor, " system"]:
        """What the tolerance is compared with."""
        return torch.maximum(self.max_force, self.max_cell_force)

    @property
    def finite(self) -> Bool[Tensor, " system"]:
        """Whether everything computed is a number."""
        strain = self.strain_gradient.flatten(1).sum(dim=1)
        return torch.isfinite(self.enthalpy + self.max_force + self.max_cell_force + strain)


@dataclass(frozen=True, eq=False)
class RelaxState:
    """A batch under way. `force` acts on the relaxation coordinates; `steps` is −1 before the first evaluation.

    now, best   the present frame and the one of lowest enthalpy · blown_up the last step went wrong
    symmetry    what is kept, where it is
    smallest    the residual when it had last halved, and that step (`smallest_at`)
    """

    system: System
    fixed: Bool[Tensor, " atom"]
    index: Int[Tensor, " system"]
    filter: CellFilter
    mover: FireState | LbfgsState
    force: Coordinates
    now: Frame
    best: Frame
    steps: Int[Tensor, " system"]
    backoffs: Int[Tensor, " system"]
    blown_up: Bool[Tensor, " system"]
    first_force: Float[Tensor, " system"]
    smallest: Float[Tensor, " system"]
    smallest_at: Int[Tensor, " system"]
    symmetry: Symmetry | None = None


def init(
    system: System,
    fixed: Bool[Tensor, " atom"],
    index: Int[Tensor, " system"],
    config: RelaxConfig,
    symmetry: Symmetry | None = None,
) -> RelaxState:
    """The state of structures that have not been computed yet; the first step computes them where they stand."""
    held, start = cell_filter(system, config.cell, config.mask, config.pressure_GPa * GIGAPASCAL)
    zero = Coordinates(torch.zeros_like(start.atoms), torch.zeros_like(start.cell))
    unknown = torch.full_like(held.n_atoms, torch.inf)
    none = torch.zeros_like(index)
    frame = Frame(start, unknown, unknown, zero.atoms, zero.cell, unknown, unknown)
    mover = MINIMISERS[config.minimiser].at_rest(zero, config.max_step)
    calm = torch.zeros_like(index, dtype=torch.bool)
    return RelaxState(
        system, fixed, index, held, mover, zero, frame, frame, none - 1, none, calm, unknown, unknown, none, symmetry
    )


def wanted(config: RelaxConfig) -> tuple[str, ...]:
    """The quantities of an evaluation."""
    return ("energy", "forces") + (() if config.cell == "fixed" else ("strain_gradient",))


def step(state: RelaxState, engine: Engine, config: RelaxConfig) -> tuple[RelaxState, dict[int, GroundstateError]]:
    """One evaluation of the batch at the next point, or back at the best frame where the last step went wrong.

    The second value names structures that the potential itself refused.
    """
    system, owner = state.system, state.system.system_index
    minimiser = MINIMISERS[config.minimiser]
    mover, shift = minimiser.advance(state.mover, state.force, owner)
    there = state.now.coordinates + (shift if state.symmetry is None else state.symmetry.project(shift))
    ratio = state.filter.volume_ratio(there)
    run_away = (ratio > config.max_volume_change) | (ratio < 1 / config.max_volume_change)
    retreat = state.blown_up | run_away
    if bool(retreat.any()):
        there = choose(retreat, owner, state.best.coordinates, there)
        mover = choose(retreat, owner, minimiser.retreated(state.mover), mover)
    system = state.filter.place(system, there)
    found, errors = engine.evaluate(system, wanted(config))
    force, now = _frame(state, system, there, found)
    steps = state.steps + 1
    first_force = torch.where(steps == 0, now.max_force, state.first_force)
    limit = (FORCE_GROWTH * first_force).clamp_min(FORCE_FLOOR)
    risen = now.enthalpy > state.best.enthalpy + ENERGY_RISE * state.filter.n_atoms
    blown_up = (risen | (now.max_force > limit)) & (steps > 0)
    better = now.finite & ~blown_up & (now.enthalpy < state.best.enthalpy)
    calmer = now.residual < 0.5 * state.smallest
    moved = replace(
        state,
        system=system,
        mover=mover,
        force=force,
        now=now,
        best=choose(better, owner, now, state.best),
        steps=steps,
        backoffs=state.backoffs + retreat.to(torch.int64),
        blown_up=blown_up,
        first_force=first_force,
        smallest=torch.where(calmer, now.residual, state.smallest),
        smallest_at=torch.where(calmer, steps, state.smallest_at),
    )
    return moved, errors


def _frame(
    state: RelaxState, system: System, there: Coordinates, found: dict[str, Tensor]
) -> tuple[Coordinates, Frame]:
    owner = system.system_index
    free = torch.where(state.fixed[:, None], torch.zeros_like(found["forces"]), found["forces"])
    if state.symmetry is not None:
        free = state.symmetry.vectors(free)
    strain_gradient = found.get("strain_gradient", torch.zeros_like(system.cell))
    # A structure that is not finite leaves the batch after this step; zero keeps its numbers out of linear algebra.
    force = state.filter.forces(system, there, free, torch.nan_to_num(strain_gradient))
    if state.symmetry is not None:
        force = state.symmetry.project(force)
    cells = Coordinates(torch.zeros_like(free), force.cell)
    atoms = Coordinates(free, torch.zeros_like(force.cell))
    frame = Frame(
        there,
        found["energy"],
        found["energy"] + state.filter.volume_work(system),
        found["forces"],
        strain_gradient,
        atoms.longest_row(owner),
        cells.longest_row(owner),
    )
    return force, frame
