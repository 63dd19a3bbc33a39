"""Structures that move: ensembles, the watchdog, runs that resume to the last bit."""

from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.run import MDResult, run_md
from groundstate.simulation.dynamics.watchdog import Watchdog

__all__ = ["MDConfig", "MDResult", "Watchdog", "run_md"]
