"""Inference of a MACE without autograd: two native calls over one tape."""

from groundstate.potentials.mace.engine.inference import Engine, engine_library, engine_of, has_engine, parts_of
from groundstate.potentials.mace.engine.plan import engine_plan

__all__ = ["Engine", "engine_library", "engine_of", "engine_plan", "has_engine", "parts_of"]
