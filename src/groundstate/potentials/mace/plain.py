"""A model whose trunks compute in plain torch whatever kernels are at hand: the other side of a comparison."""

from copy import deepcopy

from groundstate.atoms import Domain, Geometry, System
from groundstate.potentials.mace.trunk import MACETrunk
from groundstate.potentials.model import Model, NodeFeatures, Trunk
from groundstate.potentials.potential import Potential


class PlainTrunk(Trunk):
    """A MACE trunk without its kernels."""

    def __init__(self, trunk: MACETrunk) -> None:
        super().__init__()
        self.trunk = trunk

    @property
    def domain(self) -> Domain:
        """The trunk's."""
        return self.trunk.domain

    @property
    def cutoff(self) -> float:
        """Å"""
        return self.trunk.cutoff

    def forward(self, system: System, geometry: Geometry) -> NodeFeatures:
        """Features of every atom, in plain torch."""
        return self.trunk.forward_plain(system, geometry)


def in_plain_torch(potential: Potential) -> Potential:
    """A copy in which every MACE trunk, also of the parts of a sum, computes in plain torch.

    Checked: tests/api/test_parity.py
    """
    plain = deepcopy(potential)
    for part in plain.modules():
        if isinstance(part, Model) and isinstance(part.trunk, MACETrunk):
            part.trunk = PlainTrunk(part.trunk)
    return plain
