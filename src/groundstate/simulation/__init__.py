"""Floor 4: structures that move: relaxation and molecular dynamics over any potential, batched."""

from groundstate.simulation.dynamics import MDConfig
from groundstate.simulation.minimise import RelaxConfig
from groundstate.simulation.molecular_dynamics import MDResult, run_md
from groundstate.simulation.progress import Callback, Progress, progress_bar, silent
from groundstate.simulation.relax import RelaxResult, relax
from groundstate.simulation.watchdog import Watchdog

__all__ = [
    "Callback",
    "MDConfig",
    "MDResult",
    "Progress",
    "RelaxConfig",
    "RelaxResult",
    "Watchdog",
    "progress_bar",
    "relax",
    "run_md",
    "silent",
]
