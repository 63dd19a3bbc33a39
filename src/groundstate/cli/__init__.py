"""Floor 8: one binary with verbs."""

from groundstate.cli import drive, learning, models, parity, structures
from groundstate.cli.app import app, main

__all__ = ["app", "drive", "learning", "main", "models", "parity", "structures"]
