"""Floor 8: one binary with verbs."""

from groundstate.cli import learning, models, reference, structures
from groundstate.cli.app import app, main

__all__ = ["app", "learning", "main", "models", "reference", "structures"]
