"""Floor 4: public models behind our interface, their cards as data, and the one door to a potential by name or file."""

from groundstate.zoo.catalogue import Card, cards, resolve
from groundstate.zoo.chgnet import CHGNet
from groundstate.zoo.loading import BUILDERS, CONVERTERS, load, recorded_as
from groundstate.zoo.mace import ORIGINAL as MACE_ORIGINAL
from groundstate.zoo.precision import in_float64

__all__ = [
    "BUILDERS",
    "CONVERTERS",
    "MACE_ORIGINAL",
    "CHGNet",
    "Card",
    "cards",
    "in_float64",
    "load",
    "recorded_as",
    "resolve",
]
