"""The coordinate of distances, what vanishes at the cutoff, and what vanishes at contact."""

import statistics
from typing import Any

import pytest
import torch
from torch import Tensor

from groundstate.atoms.elements import element
from groundstate.potentials import evaluate
from groundstate.potentials.mace import (
    DistanceTransform,
    MACEConfig,
    RadialFunctions,
    RadialNetwork,
    bessel_basis,
    envelope,
    fade,
)
from groundstate.potentials.mace.radial import agnesi, soft
from groundstate.potentials.switch import polynomial_switch
from small_mace import ELEMENTS, REFERENCES, cluster, crystal, dimer, small

PAIRS = [(a, b) for a in ELEMENTS for b in ELEMENTS if a <= b]


def derivatives(function: object, x: Tensor) -> list[Tensor]:
    """Value, slope and curvature."""
    x = x.clone().requires_grad_()
    value = function(x)  # type: ignore[operator]
    slope = torch.autograd.grad(value.sum(), x, create_graph=True)[0]
    curvature = torch.autograd.grad(slope.sum(), x)[0] if slope.requires_grad else torch.zeros_like(x)
    return [value.detach(), slope.detach(), curvature]


@pytest.mark.parametrize("kind", ["covalent", "linear", "agnesi", "soft"])
def test_the_coordinate_rises_from_0_to_1_for_every_pair(kind: str) -> None:
    transform = DistanceTransform(MACEConfig(distance_transform=kind, cutoff=5.0), ELEMENTS)  # type: ignore[arg-type]
    r = torch.linspace(1e-3, 5.0, 400, dtype=torch.float64)
    for pair in range(9):
        x, _ = transform(r, torch.full((400,), pair))
        assert (x[1:] > x[:-1]).all()
        assert 0 < float(x[0]) < 1e-2
        assert float(x[-1]) == pytest.approx(1.0, abs=1e-14)


def test_bonds_of_all_elements_sit_alike() -> None:
    """The sum of covalent radii is at about the same x for pairs whose lengths differ by a factor of three."""
    transform = DistanceTransform(MACEConfig(cutoff=6.0), ELEMENTS)
    lengths = torch.tensor(
        [element(a).covalent_radius + element(b).covalent_radius for a in ELEMENTS for b in ELEMENTS],
        dtype=torch.float64,
    )
    x, s = transform(lengths, torch.arange(9))
    torch.testing.assert_close(s, torch.ones(9, dtype=torch.float64))
    assert float(x.max() / x.min()) < 0.6 * float(lengths.max() / lengths.min())


@pytest.mark.parametrize("power", [2, 6, 9])
def test_the_envelope_ends_flat(power: int) -> None:
    for value in derivatives(lambda x: envelope(x, power), torch.tensor([1.0, 1.3, 2.0], dtype=torch.float64)):
        assert (value == 0).all()
    value, slope, curvature = derivatives(lambda x: envelope(x, power), torch.tensor([1 - 1e-4], dtype=torch.float64))
    assert 0 < float(value) < 1e-8
    assert abs(float(slope)) < 1e-4
    assert abs(float(curvature)) < 1.0
    assert float(envelope(torch.zeros(1), power)) == 1.0


@pytest.mark.parametrize("power", [2, 5, 6])
def test_the_polynomial_ends_flat_and_falls(power: int) -> None:
    x = torch.tensor([1.0, 1.3, 2.0], dtype=torch.float64)
    for value in derivatives(lambda x: polynomial_switch(x, power), x):
        assert value.abs().max() < 1e-12
    assert (polynomial_switch(x, power) == 0).all()
    inside = polynomial_switch(torch.linspace(0, 1, 100, dtype=torch.float64), power)
    assert (inside[1:] < inside[:-1]).all()
    assert float(inside[0]) == 1.0
    u = 0.7
    by_hand = 1 - (power + 1) * (power + 2) / 2 * u**power + power * (power + 2) * u ** (power + 1)
    by_hand -= power * (power + 1) / 2 * u ** (power + 2)
    assert float(polynomial_switch(torch.tensor([u], dtype=torch.float64), power)) == pytest.approx(by_hand, rel=1e-13)


def test_bent_distances() -> None:
    """Agnesi: 1/(1 + a u^q/(1 + u^(q−p))) with u in units of half the sum of radii; soft: s outside, ¾ inside."""
    s = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    by_hand = [1 / (1 + 1.0805 * u**0.9183 / (1 + u ** (0.9183 - 4.5791))) for u in (1.0, 2.0, 5.0)]
    assert agnesi(s).tolist() == pytest.approx(by_hand, rel=1e-13)
    assert soft(torch.tensor([3.0, 0.2], dtype=torch.float64)).tolist() == pytest.approx([3.0, 0.75], rel=2e-3)


@pytest.mark.parametrize("at", ["weights", "basis"])
@pytest.mark.parametrize("kind", ["covalent", "linear", "agnesi", "soft"])
def test_a_weight_is_the_fade_times_a_function_of_one_coordinate(kind: str, at: str) -> None:
    """So a table for each set of pairs that share one is enough; from x = 1 on nothing is left."""
    config = MACEConfig(distance_transform=kind, envelope="polynomial", envelope_at=at, cutoff=5.0)  # type: ignore[arg-type]
    functions = RadialFunctions(config, ELEMENTS)
    assert functions.n_tables == (6 if kind in ("agnesi", "soft") else 1)
    network = RadialNetwork(8, (6, 4), 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    r = torch.linspace(0.3, 6.0, 50, dtype=torch.float64)
    for pair in range(9):
        pairs = torch.full((50,), pair)
        x, table, faded = functions.place(r, pairs)
        assert faded is not None
        whole = network(*functions(r, pairs))
        torch.testing.assert_close(whole, network(*functions.basis(x, table)) * faded[None, :, None])
        assert (whole[:, r >= 5.0] == 0).all()
        mirrored = torch.full((50,), 3 * (pair % 3) + pair // 3)
        torch.testing.assert_close(whole, network(*functions(r, mirrored)))


def test_every_weight_ends_flat_at_the_cutoff() -> None:
    network = RadialNetwork(5, (6, 4), 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for x0 in (1.0, 1.0 - 1e-5):
        x = torch.tensor([x0], dtype=torch.float64)
        for path in range(3):
            for channel in range(2):
                found = derivatives(
                    lambda x, p=path, c=channel: network(bessel_basis(x, 5), envelope(x, 6)[:, None])[p, :, c], x
                )
                assert max(abs(float(value)) for value in found) < 0.1
                assert x0 < 1.0 or all(float(value) == 0 for value in found)


@pytest.mark.parametrize("kind", ["covalent", "linear", "agnesi", "soft"])
def test_untrained_networks_are_of_moderate_size(kind: str) -> None:
    """In the median: a few draws are large whatever the basis. One as large as bending makes it gives 10⁶ eV/atom."""
    references = sum(REFERENCES[z] for z in cluster().numbers.tolist())
    shape: dict[str, Any] = {"distance_transform": kind, "lmax": 2, "correlation": 3, "channels": 16, "radial_basis": 8}
    models = [small(seed=seed, zbl=False, **shape) for seed in range(5)]
    energies = [abs(float(evaluate(m, cluster(), ("energy",))["energy"]) - references) for m in models]
    assert 0.01 < statistics.median(energies) / cluster().n_atoms < 10.0


def test_fading_is_smooth_and_complete() -> None:
    ends = torch.tensor([0.1, 0.5, 0.75, 0.9], dtype=torch.float64)
    value, slope, curvature = derivatives(fade, ends)
    assert value.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert (slope == 0).all()
    assert curvature.abs().max() < 1e-12
    inside = fade(torch.linspace(0.51, 0.74, 50, dtype=torch.float64))
    assert (inside[1:] > inside[:-1]).all()


@pytest.mark.parametrize("seed", range(3))
def test_nuclei_at_contact_repel_whatever_the_weights(seed: int) -> None:
    """Below half a bond only the nuclear repulsion is left, exactly, and it falls with distance."""
    model = small(seed=seed, lmax=2)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 3.0
    for first, second in PAIRS:
        bond = element(first).covalent_radius + element(second).covalent_radius
        energies = []
        for fraction in (0.05, 0.2, 0.49):
            system = dimer(first, second, fraction * bond)
            found = evaluate(model, system, ("energies", "forces", "energy"))
            energies.append(float(found["energy"]))
            assert float((found["forces"][1] * system.positions[1]).sum()) > 0
            assert float(found["energy"]) - REFERENCES[first] - REFERENCES[second] > 0
        assert energies == sorted(energies, reverse=True)


def test_a_collision_inside_a_solid_ends_in_repulsion() -> None:
    model, system = small(lmax=2), crystal()
    towards = system.positions[1] - system.positions[0]
    positions = system.positions.clone()
    positions[1] = positions[0] + 0.3 * towards / towards.norm()
    hit = system.replace(positions=positions)
    forces = evaluate(model, hit, ("forces",))["forces"]
    assert float((forces[1] * towards).sum()) > 100.0


def test_without_fading_the_network_still_speaks_at_contact() -> None:
    close = dimer(14, 14, 0.2 * 2 * element(14).covalent_radius)
    energies = [float(evaluate(small(lmax=2, zbl=False, fade_at_contact=on), close)["energy"]) for on in (True, False)]
    assert energies[0] == 2 * REFERENCES[14]
    assert energies[1] != pytest.approx(energies[0], abs=1e-6)
