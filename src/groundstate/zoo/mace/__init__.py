"""Models of mace-torch as models of our own: the same function, in a file that loads without running code."""

from groundstate.zoo.mace.conversion import Converted, convert

__all__ = ["Converted", "convert"]
