"""Floor 8: one binary with verbs."""

from groundstate.cli import learning, models, structures, trajectories
from groundstate.cli.app import app, main

__all__ = ["app", "learning", "main", "models", "structures", "trajectories"]
