"""Ways between minima: elastic bands, saddle points, the modes that lead down from them."""

from groundstate.simulation.paths.modes import Modes, lowest_modes
from groundstate.simulation.paths.neb import neb
from groundstate.simulation.paths.neb_records import NEBConfig, NEBResult
from groundstate.simulation.paths.profile import Profile
from groundstate.simulation.paths.saddle import SaddleConfig, SaddleResult, find_saddles

__all__ = [
    "Modes",
    "NEBConfig",
    "NEBResult",
    "Profile",
    "SaddleConfig",
    "SaddleResult",
    "find_saddles",
    "lowest_modes",
    "neb",
]
