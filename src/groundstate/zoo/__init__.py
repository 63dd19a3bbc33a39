"""Floor 4: public models behind our interface, their cards as data, and the one door to a potential by name or file."""

from groundstate.zoo.catalogue import Card, cards, resolve
from groundstate.zoo.chgnet import CHGNet
from groundstate.zoo.loading import BUILDERS, CONVERTERS, load, recorded_as

__all__ = ["BUILDERS", "CONVERTERS", "CHGNet", "Card", "cards", "load", "recorded_as", "resolve"]
