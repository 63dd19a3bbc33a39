"""Floor 8: one binary with verbs."""

from groundstate.cli import export, learning, models, structures
from groundstate.cli.app import app, main

__all__ = ["app", "export", "learning", "main", "models", "structures"]
