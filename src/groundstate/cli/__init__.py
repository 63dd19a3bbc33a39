"""Floor 8: one binary with verbs."""

from groundstate.cli import builders, learning, models, paths, pores, structures
from groundstate.cli.app import app, main

__all__ = ["app", "builders", "learning", "main", "models", "paths", "pores", "structures"]
