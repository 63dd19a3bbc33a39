"""Minima: the floor of a float32 model is found, used and told; float64 keeps the tolerance asked for."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.potentials import Energy, Model, Term
from groundstate.simulation.properties.ground_state import minima, relax_to_floor
from groundstate.simulation.relaxation import RelaxConfig
from toys import SmoothLennardJones, fcc, lennard_jones


class Single(Term):
    """The pair potential with distances rounded to float32, as a network in single precision has them."""

    cutoff = 4.5
    reaches_contact = True

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        edges = geometry.edges(self.cutoff)
        distances = edges.distances.to(torch.float32)
        inverse = (2.3 / distances) ** 6
        switch = (1 - (distances / self.cutoff) ** 2).clamp_min(0.0) ** 3
        pair = 0.8 * (inverse**2 - inverse) * switch
        return Energy.of_atoms(system, 0.5 * edges.sum_to_receivers(pair.to(torch.float64)))


def test_float32_is_relaxed_to_its_floor_and_says_so() -> None:
    single = Model(None, {}, {"pair": Single()}, description={"kind": "toy-single"})
    config = RelaxConfig(cell="full", force_tolerance=1e-8)
    rattled = fcc(lattice_constant=3.6)
    rattled = rattled.replace(positions=rattled.positions + 0.02 * torch.sin(torch.arange(12.0)).reshape(4, 3).double())
    (noisy,) = relax_to_floor(rattled, single, config)
    assert noisy.converged
    assert noisy.max_force is not None
    assert noisy.max_force > 1e-8
    assert any("float32" in note and "instead of 1e-08" in note for note in noisy.notes)
    (clean,) = relax_to_floor(rattled, lennard_jones(cutoff=4.5), config)
    assert clean.converged
    assert clean.max_force is not None
    assert clean.max_force < 1e-8
    assert clean.notes == ()


def test_terms_are_the_same_function() -> None:
    from groundstate.potentials import evaluate

    double = Model(None, {}, {"pair": SmoothLennardJones(0.2, 2.3, 4.5)}, description={"kind": "toy-double"})
    single = Model(None, {}, {"pair": Single()}, description={"kind": "toy-single"})
    energies = [float(evaluate(model, fcc(), ("energy",))["energy"]) for model in (double, single)]
    assert energies[0] == pytest.approx(energies[1], rel=1e-6)


def test_every_structure_keeps_its_place_and_its_reason() -> None:
    good = fcc(lattice_constant=3.6)
    slab = good.replace(pbc=torch.tensor([[True, True, False]]))
    overlapping = good.replace(positions=good.positions * 0.0)
    config = RelaxConfig(cell="full", force_tolerance=1e-3)
    found = minima(System.batch([slab, good, overlapping]), lennard_jones(cutoff=4.5), config, "a test")
    assert [start.problem.code if start.problem else "" for start in found] == [
        "E-NOT-A-CRYSTAL",
        "",
        "E-ATOMS-COINCIDE",
    ]
    short = RelaxConfig(cell="full", force_tolerance=1e-6, max_steps=1)
    (start,) = minima(good, lennard_jones(cutoff=4.5), short, "a test")
    assert start.problem is not None
    assert start.problem.code == "E-PROPERTY-NOT-RELAXED"
