"""CHGNet: a universal potential for inorganic crystals, with magnetic moments."""

from groundstate.zoo.chgnet.potential import CHGNet, build, description

__all__ = ["CHGNet", "build", "description"]
