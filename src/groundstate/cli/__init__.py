"""Floor 8: one binary with verbs."""

from groundstate.cli import compare, drive, learning, models, parity, structures
from groundstate.cli.app import app, main

__all__ = ["app", "compare", "drive", "learning", "main", "models", "parity", "structures"]
