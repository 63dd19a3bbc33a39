"""Floor 8: one binary with verbs."""

from groundstate.cli import learning, models, properties, structures
from groundstate.cli.app import app, main

__all__ = ["app", "learning", "main", "models", "properties", "structures"]
