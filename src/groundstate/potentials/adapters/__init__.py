"""Potentials in the clothes other programs expect."""

from groundstate.potentials.adapters.ase import Calculator

__all__ = ["Calculator"]
