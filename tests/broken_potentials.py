"""Potentials with one fault each: a smooth pair potential plus the fault. They show that every law can fail."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import Domain, Geometry, System
from groundstate.potentials import Energy, Model, Potential, Prediction, Term
from toys import SmoothLennardJones

CUTOFF = 5.0
Fault = Callable[[System, Geometry], Energy]


class _Faulty(Term):
    cutoff = CUTOFF

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        return self.fault(system, geometry)


def with_fault(fault: Fault) -> Potential:
    """A sound pair potential and a fault."""
    terms = {"pair": SmoothLennardJones(0.2, 2.3, CUTOFF), "fault": _Faulty(fault)}
    return Model(None, {}, terms, description={"kind": "toy-faulty"})


def _switch(geometry: Geometry, cutoff: float = CUTOFF) -> Tensor:
    return (1 - (geometry.edges(cutoff).distances / cutoff) ** 2).clamp_min(0.0) ** 3


def _density(geometry: Geometry) -> Tensor:
    """A smooth number per atom that depends on its neighbours; 0 without any."""
    return geometry.edges(CUTOFF).sum_to_receivers(_switch(geometry))


def prefers_x(system: System, geometry: Geometry) -> Energy:
    vectors = geometry.edges(CUTOFF).vectors
    pair = 0.01 * vectors[:, 0] ** 2 * _switch(geometry)
    return Energy.of_atoms(system, geometry.edges(CUTOFF).sum_to_receivers(pair))


def is_chiral(system: System, geometry: Geometry) -> Energy:
    """Triple product of three vector moments of the neighbourhood: invariant under rotation, odd under reflection."""
    edges, switch = geometry.edges(CUTOFF), _switch(geometry)
    number = system.numbers[edges.senders].to(torch.float64)
    moments = [
        edges.sum_to_receivers((0.1 * number**k * switch ** (k + 1))[:, None] * edges.vectors / 29.0**k)
        for k in range(3)
    ]
    return Energy.of_atoms(system, 0.1 * torch.linalg.det(torch.stack(moments, dim=1)))


def feels_the_origin(system: System, geometry: Geometry) -> Energy:
    """A function of fractional position along periods only, so that wrapped images agree."""
    return Energy.of_atoms(system, 0.01 * torch.sin(2 * system.positions).sum(dim=1) * _density(geometry))


def reads_the_order(system: System, geometry: Geometry) -> Energy:
    place = torch.arange(system.n_atoms) - system.system_ptr[system.system_index]
    return Energy.of_atoms(system, 1e-3 * torch.cos(place.to(torch.float64)) * _density(geometry))


def rounds_positions(system: System, geometry: Geometry) -> Energy:
    edges = geometry.edges(CUTOFF)
    r = system.positions.to(torch.float32)
    shifts = torch.einsum(
        "ek,ekd->ed", edges.shifts.to(torch.float64), system.cell[system.system_index[edges.receivers]]
    )
    vectors = (r[edges.senders] - r[edges.receivers]).to(torch.float64) + shifts
    return Energy.of_atoms(
        system, edges.sum_to_receivers(0.1 * torch.exp(-(vectors**2).sum(dim=1) / 8) * _switch(geometry))
    )


def trusts_the_hand(system: System, geometry: Geometry) -> Energy:
    sign = torch.linalg.det(system.cell.detach()).sign()[system.system_index]
    return Energy.of_atoms(system, 0.01 * sign * _density(geometry))


def sees_the_skin(system: System, geometry: Geometry) -> Energy:
    reach = geometry.graph.cutoff
    return Energy.of_atoms(system, geometry.edges(reach).sum_to_receivers(0.01 * _switch(geometry, reach)))


def leaks_in_the_batch(system: System, geometry: Geometry) -> Energy:
    return Energy(torch.full((system.n_systems,), 1e-3 * (system.n_systems - 1), dtype=torch.float64))


def counts_atoms_twice(system: System, geometry: Geometry) -> Energy:
    return Energy(1e-4 * system.atoms_per_system.to(torch.float64) ** 2)


def averages_the_system(system: System, geometry: Geometry) -> Energy:
    """Extensive for copies of a cell, yet a far fragment changes every atom."""
    density = _density(geometry)
    mean = system.sum_over_atoms(density) / system.atoms_per_system
    return Energy.of_atoms(system, 1e-3 * density * mean[system.system_index])


def divides_by_neighbours(system: System, geometry: Geometry) -> Energy:
    density = _density(geometry)
    return Energy.of_atoms(system, 0.01 * density / density)


def hides_part_of_the_force(system: System, geometry: Geometry) -> Energy:
    return Energy.of_atoms(system, 0.1 * _density(geometry).detach())


def hides_part_of_the_stress(system: System, geometry: Geometry) -> Energy:
    """Depends on the density of a crystal by a path that no derivative follows."""
    volume_per_atom = system.volume.detach() / system.atoms_per_system
    factor = torch.exp(-volume_per_atom / 20) * system.pbc.all(dim=1)
    return Energy.of_atoms(system, 0.01 * factor[system.system_index] * _density(geometry))


def swirls(system: System, geometry: Geometry) -> Energy:
    """No energy, but a force around the z axis on every pair: not a gradient, so it pumps."""
    x, y, _ = geometry.edges(CUTOFF).vectors.unbind(dim=1)
    pair = 0.05 * _switch(geometry).detach() * (x * y.detach() - x.detach() * y)
    return Energy.of_atoms(system, geometry.edges(CUTOFF).sum_to_receivers(pair))


def ends_abruptly(system: System, geometry: Geometry) -> Energy:
    edges = geometry.edges(3.7)
    return Energy.of_atoms(system, edges.sum_to_receivers(torch.full_like(edges.distances, 1e-4)))


def bends_abruptly(system: System, geometry: Geometry) -> Energy:
    edges = geometry.edges(3.7)
    return Energy.of_atoms(system, edges.sum_to_receivers(1e-3 * (3.7 - edges.distances)))


def attracts_at_contact(system: System, geometry: Geometry) -> Energy:
    distances = geometry.edges(CUTOFF).distances
    well = -2e8 * torch.exp(-(((distances - 1.2) / 0.15) ** 2))
    return Energy.of_atoms(system, geometry.edges(CUTOFF).sum_to_receivers(well))


class Flickering(Potential):
    """The same question has another answer each time: in the last digits, as a race or a failing memory would."""

    domain, cutoff, theories = Domain(), CUTOFF, ()

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = with_fault(lambda system, geometry: Energy.zero(system)), 0

    def describe(self) -> dict[str, Any]:
        return {"kind": "toy-flickering"}

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        self.calls += 1
        energy = self.inner(system, geometry).energy.per_system
        return Prediction(Energy(energy * (1 + 1e-15 * (self.calls % 7))))


class Charged(Potential):
    """A pair potential whose energy depends on the total charge: `power` 1 is extensive, 2 is not."""

    domain, cutoff, theories = Domain(charge="accepts"), CUTOFF, ()

    def __init__(self, power: int) -> None:
        super().__init__()
        self.inner, self.power = with_fault(lambda system, geometry: Energy.zero(system)), power

    def describe(self) -> dict[str, Any]:
        return {"kind": "toy-charged"}

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        energy = self.inner(system, geometry).energy
        if system.charge is None:
            return Prediction(energy)
        return Prediction(Energy(energy.per_system + 0.1 * system.charge**self.power))


class Refusing(Potential):
    """Other people's code that dies on structures without a full cell."""

    domain, cutoff, theories = Domain(), CUTOFF, ()

    def describe(self) -> dict[str, Any]:
        return {"kind": "toy-refusing"}

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        if not bool(system.pbc.all()):
            raise ValueError("only crystals, please")
        return Prediction(Energy.zero(system))
