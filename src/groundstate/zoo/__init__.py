"""Floor 4: public models behind our interface, their cards as data, and the one door to a potential by name or file."""

from groundstate.zoo.catalogue import Card, cards, chosen, resolve
from groundstate.zoo.chgnet import CHGNet
from groundstate.zoo.families import Family, families, family
from groundstate.zoo.installing import State, install, remove, state
from groundstate.zoo.loading import BUILDERS, CONVERTERS, load, recorded_as
from groundstate.zoo.mace import ORIGINAL as MACE_ORIGINAL
from groundstate.zoo.precision import in_float64
from groundstate.zoo.weights import models_folder

__all__ = [
    "BUILDERS",
    "CONVERTERS",
    "MACE_ORIGINAL",
    "CHGNet",
    "Card",
    "Family",
    "State",
    "cards",
    "chosen",
    "families",
    "family",
    "in_float64",
    "install",
    "load",
    "models_folder",
    "recorded_as",
    "remove",
    "resolve",
    "state",
]
