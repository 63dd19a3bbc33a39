"""Floor 4: structures that move: relaxation and molecular dynamics over any potential, batched."""

from groundstate.simulation.dynamics import MDConfig, MDResult, Watchdog, run_md
from groundstate.simulation.progress import Callback, Progress, progress_bar, silent
from groundstate.simulation.relaxation import RelaxConfig, RelaxResult, relax

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
