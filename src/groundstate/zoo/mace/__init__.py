"""Models of mace-torch as models of our own: the same function, in a file that loads without running code."""

from pathlib import Path

from groundstate.zoo.mace.conversion import Converted, convert

ORIGINAL = Path(__file__).with_name("original.py")
"""The driver that asks a checkpoint under mace-torch itself."""

__all__ = ["ORIGINAL", "Converted", "convert"]
