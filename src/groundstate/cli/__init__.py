"""Floor 8: one binary with verbs."""

from groundstate.cli import (
    builders,
    compare,
    data,
    data_check,
    drive,
    export,
    installing,
    learning,
    models,
    parity,
    paths,
    pores,
    properties,
    reference,
    structures,
    trajectories,
)
from groundstate.cli.app import app, main

__all__ = [
    "app",
    "builders",
    "compare",
    "data",
    "data_check",
    "drive",
    "export",
    "installing",
    "learning",
    "main",
    "models",
    "parity",
    "paths",
    "pores",
    "properties",
    "reference",
    "structures",
    "trajectories",
]
