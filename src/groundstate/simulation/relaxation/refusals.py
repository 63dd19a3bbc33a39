"""Options that do not fit a batch, or one of its structures."""

import torch
from jaxtyping import Bool
from torch import Tensor

from groundstate.atoms import GroundstateError, OptionError, StructureError, System
from groundstate.potentials import periodic_projector
from groundstate.simulation.relaxation.minimise import RelaxConfig


def no_atoms(system: System) -> Bool[Tensor, " atom"]:
    """The mask that holds nothing fixed."""
    return torch.zeros(system.n_atoms, dtype=torch.bool, device=system.device)


def check_fixed(system: System, fixed: Bool[Tensor, " row"]) -> None:
    """Refuse a mask that does not belong to the batch."""
    if fixed.shape[0] != system.n_atoms:
        raise OptionError(
            "E-FIXED-ATOMS",
            f"the mask of fixed atoms has {fixed.shape[0]} entries for {system.n_atoms} atoms",
            fix="give one true or false per atom of the batch",
        )


def all_fixed() -> StructureError:
    """Nothing can move."""
    return StructureError("E-ALL-FIXED", "every atom is held fixed", why="nothing can move", fix="free some atoms")


def not_periodic() -> OptionError:
    return OptionError(
        "E-CELL-NOT-PERIODIC",
        "a cell cannot relax where there is none",
        why="the structure has no periodic direction",
        fix="use cell='fixed' for molecules, or set the structure's pbc",
    )


def contradictions(single: System, fixed: Bool[Tensor, " atom"], config: RelaxConfig) -> list[GroundstateError]:
    """Options that this structure cannot meet."""
    if config.cell == "fixed":
        return [all_fixed()] if bool(fixed.all()) else []
    periods = int(single.pbc[0].sum())
    if periods == 0:
        return [not_periodic()]
    if config.pressure_GPa != 0 and periods < 3:
        what = f"a pressure was given to a structure with {periods} periodic direction(s)"
        return [OptionError("E-PRESSURE", what, why="it has no volume to work on", fix="set pressure_GPa to 0")]
    plane = periodic_projector(single)[0]
    tilted = bool((plane - torch.diag(plane.diagonal())).abs().max() > 1e-9)
    if config.cell_mask is not None and tilted:
        what = "a cell mask was given to a slab or chain that does not lie along x, y, z"
        return [OptionError("E-CELL-MASK", what, why="its components are mixed", fix="turn the structure, or drop it")]
    return []
