"""Structures that go downhill: minimisers, cells that relax with their atoms, an honest end for each structure."""

from groundstate.simulation.relaxation.minimise import RelaxConfig
from groundstate.simulation.relaxation.relax import RelaxResult, relax

__all__ = ["RelaxConfig", "RelaxResult", "relax"]
