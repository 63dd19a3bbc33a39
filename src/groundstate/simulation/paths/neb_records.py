"""What is asked of a search for paths, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from groundstate.atoms import System
from groundstate.simulation import options
from groundstate.simulation.paths.band import Elasticity
from groundstate.simulation.paths.interpolate import INTERPOLATIONS
from groundstate.simulation.paths.modes import Modes
from groundstate.simulation.paths.profile import Profile

Status = Literal["converged", "max_steps", "diverged", "invalid"]
HOW_COMPUTED = ("skin", "max_atoms_per_batch", "checkpoint_every")
"""Options that change the cost of a result and not the result."""


@dataclass(frozen=True)
class NEBConfig:
    """How paths are found.

    images           between the ends · interpolation of the first guess, `idpp` or `linear`
    force_tolerance  eV/Å; converged when the largest band force on an atom of any image is below it (and the highest
                     image climbs, where it is asked to)
    max_steps        steps before a path ends as `max_steps`
    climb            the highest image climbs to the saddle, once the largest band force is below `climb_below` (eV/Å)
    spring           eV/Å² between neighbouring images; `softest_spring` away from the saddle, `None`: the same
    relax_ends       relax start and end first, to `force_tolerance` / 2
    verify           count the negative modes of the saddle of each converged path
    max_step Å · skin Å of neighbour lists · max_atoms_per_batch computed together · checkpoint_every steps
    """

    images: int = 7
    interpolation: str = "idpp"
    force_tolerance: float = 0.03
    max_steps: int = 500
    climb: bool = True
    climb_below: float = 0.5
    spring: float = 1.0
    softest_spring: float | None = None
    relax_ends: bool = False
    verify: bool = False
    max_step: float = 0.1
    skin: float = 1.0
    max_atoms_per_batch: int | None = 2048
    checkpoint_every: int = 10

    def __post_init__(self) -> None:
        options.whole("images", self.images, 1)
        options.one_of("interpolation", self.interpolation, INTERPOLATIONS)
        options.within("force_tolerance", self.force_tolerance, 1e-8, 10.0, hint="it is in eV/Å; 0.03 to 0.05 is usual")
        options.whole("max_steps", self.max_steps, 1)
        options.within("climb_below", self.climb_below, 1e-6, 100.0, hint="it is in eV/Å")
        options.within("spring", self.spring, 1e-3, 100.0, hint="it is in eV/Å²; 0.1 to 5 is usual")
        if self.softest_spring is not None:
            options.within("softest_spring", self.softest_spring, 1e-3, self.spring, hint="at most `spring`")
        options.within("max_step", self.max_step, 1e-4, 1.0, hint="it is in Å")
        options.within("skin", self.skin, 0.0, 5.0, hint="it is in Å")
        options.whole("checkpoint_every", self.checkpoint_every, 1)
        if self.max_atoms_per_batch is not None:
            options.whole("max_atoms_per_batch", self.max_atoms_per_batch, 1)

    @property
    def elasticity(self) -> Elasticity:
        """Springs and climbing."""
        softest = self.spring if self.softest_spring is None else self.softest_spring
        return Elasticity(self.spring, softest, self.climb_below if self.climb else None)


@dataclass(frozen=True, eq=False)
class NEBResult:
    """How the search for one path ended.

    status       `converged`; `max_steps`: the path of the last step; `diverged`: as it was when an image was refused;
                 `invalid`: refused at the door, no path
    images       all structures along the path, ends included · profile energy and slope along it
    saddle       number of the highest image · climbed whether it was driven to the saddle
    barrier_forward  E(saddle) − E(start), barrier_backward  E(saddle) − E(end), reaction_energy  E(end) − E(start), eV.
                 E(saddle) is the energy of the climbing image, or where none climbed the top of the cubic of `profile`;
                 no zero-point energy, no entropy
    modes        of the saddle, when asked · max_force eV/Å, what the tolerance was compared with
    notes, warnings for people · record: potential, configuration and version that made it
    """

    index: int
    status: Status
    code: str
    reason: str
    images: System | None
    profile: Profile | None
    saddle: int | None
    climbed: bool
    barrier_forward: float | None
    barrier_backward: float | None
    reaction_energy: float | None
    max_force: float | None
    steps: int
    modes: Modes | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    record: Mapping[str, Any]

    @property
    def converged(self) -> bool:
        """Whether the band force is below the tolerance on every image."""
        return self.status == "converged"
