"""MACE: message passing with equivariant many-body products, in plain torch."""

from groundstate.potentials.mace.build import build, grown, merged_at, rebuild
from groundstate.potentials.mace.config import SIZES, MACEConfig
from groundstate.potentials.mace.heads import EnergyHead, ScalarHead
from groundstate.potentials.mace.message import Message
from groundstate.potentials.mace.radial import (
    DistanceTransform,
    Hold,
    RadialFunctions,
    RadialNetwork,
    bessel_basis,
    envelope,
    fade,
)
from groundstate.potentials.mace.trunk import Layer, MACETrunk

__all__ = [
    "SIZES",
    "DistanceTransform",
    "EnergyHead",
    "Hold",
    "Layer",
    "MACEConfig",
    "MACETrunk",
    "Message",
    "RadialFunctions",
    "RadialNetwork",
    "ScalarHead",
    "bessel_basis",
    "build",
    "envelope",
    "fade",
    "grown",
    "merged_at",
    "rebuild",
]
