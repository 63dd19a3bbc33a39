"""Floor 3: other people's programs in a process and an environment of their own; arrays over a pipe, with timeouts."""

from groundstate.external.boxes import boxed
from groundstate.external.environment import Environment, environments_folder
from groundstate.external.potential import ExternalPotential
from groundstate.external.process import Answer, Worker

__all__ = ["Answer", "Environment", "ExternalPotential", "Worker", "boxed", "environments_folder"]
