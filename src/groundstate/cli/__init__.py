"""Floor 8: one binary with verbs."""

from groundstate.cli import installing, learning, models, structures
from groundstate.cli.app import app, main

__all__ = ["app", "installing", "learning", "main", "models", "structures"]
from groundstate.cli import reference

__all__ = ["app", "learning", "main", "models", "reference", "structures"]
from groundstate.cli import export

__all__ = ["app", "export", "learning", "main", "models", "structures"]
from groundstate.cli import trajectories

__all__ = ["app", "learning", "main", "models", "structures", "trajectories"]
from groundstate.cli import properties

__all__ = ["app", "learning", "main", "models", "properties", "structures"]
from groundstate.cli import builders, paths, pores

__all__ = ["app", "builders", "learning", "main", "models", "paths", "pores", "structures"]
from groundstate.cli import compare, drive, learning, models, parity, structures
from groundstate.cli.app import app, main

__all__ = ["app", "compare", "drive", "learning", "main", "models", "parity", "structures"]
