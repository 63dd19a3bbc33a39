"""Muon: directions of maps are orthogonal, unused maps rest, other weights go as with Adam."""

import copy

import pytest
import torch
from torch import nn

from groundstate.training.muon import ROOT_MEAN_SQUARE, Muon, is_map, orthogonalised


def weights() -> nn.ParameterDict:
    torch.manual_seed(0)
    shapes = {"up": (32, 16), "tall": (16, 32), "of_element": (3, 1, 16, 16), "hidden": (8, 32), "embedding": (89, 64)}
    return nn.ParameterDict({name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()})


def loss(held: nn.ParameterDict) -> torch.Tensor:
    first, last = held["of_element"][0], held["of_element"][2]  # the map of the middle one is not used
    parts = [held["up"] @ first[0], last[0] @ held["tall"], held["hidden"], held["embedding"]]
    return torch.stack([part.square().mean() for part in parts]).sum()


def step(held: nn.ParameterDict, optimiser: torch.optim.Optimizer) -> float:
    optimiser.zero_grad()
    value = loss(held)
    value.backward()
    optimiser.step()
    return float(value.detach())


def muon(held: nn.ParameterDict, amsgrad: bool = False, decay: float = 0.0) -> Muon:
    return Muon(dict(held.items()), 0.02, decay, amsgrad)


def test_singular_values_come_near_one() -> None:
    generator = torch.Generator().manual_seed(1)
    for shape in ((2, 24, 64), (3, 64, 24), (1, 64, 64)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape, generator=generator)))
        assert float(values.max()) < 1.25
        assert float(values.quantile(0.05)) > 0.6


def test_steps_have_one_size_whatever_the_gradient() -> None:
    held = weights()
    before = {name: value.detach().clone() for name, value in held.items()}
    step(held, muon(held))
    for name in ("up", "tall"):
        size = (held[name] - before[name]).square().mean().sqrt()
        torch.testing.assert_close(size.detach(), torch.tensor(0.02 * ROOT_MEAN_SQUARE), rtol=0.2, atol=0)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_a_map_without_gradient_rests(decay: float) -> None:
    held, optimiser = (made := weights()), muon(made, decay=decay)
    before = held["of_element"].detach().clone()
    for _ in range(3):
        step(held, optimiser)
    moved = (held["of_element"] - before).abs().amax((1, 2, 3))
    assert moved[1] == 0
    assert bool((moved[[0, 2]] > 0.005).all())


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_other_weights_go_as_with_adam(decay: float) -> None:
    for amsgrad in (False, True):
        mine, theirs = weights(), weights()
        adam = torch.optim.AdamW(theirs.values(), lr=0.02, amsgrad=amsgrad, weight_decay=decay)
        ours = muon(mine, amsgrad, decay)
        for _ in range(4):
            step(mine, ours)
            step(theirs, adam)
        others = [name for name, parameter in mine.items() if not is_map(name, parameter)]
        assert set(others) == {"hidden", "embedding"}
        for name in others:
            torch.testing.assert_close(mine[name], theirs[name])


def test_maps_decay_apart_from_their_steps() -> None:
    held, decayed = weights(), weights()
    step(held, muon(held))
    step(decayed, muon(decayed, decay=0.5))
    torch.testing.assert_close(held["up"] - decayed["up"], 0.02 * 0.5 * weights()["up"], rtol=1e-4, atol=1e-7)


def test_state_continues_to_the_bit() -> None:
    held = weights()
    optimiser = muon(held)
    for _ in range(3):
        step(held, optimiser)
    kept, tensors = copy.deepcopy(held), copy.deepcopy(optimiser.state_dict())
    expected = [step(held, optimiser) for _ in range(3)]
    again = muon(kept)
    again.load_state_dict(tensors)
    assert [step(kept, again) for _ in range(3)] == expected


def test_a_badly_scaled_problem_is_solved_sooner_than_by_adam() -> None:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(256, 32, generator=generator) * torch.logspace(0, -2, 32)
    wanted = inputs @ torch.randn(32, 32, generator=generator)

    def after(kind: str) -> float:
        weight = nn.Parameter(torch.zeros(32, 32))
        optimiser = torch.optim.Adam([weight], lr=0.02) if kind == "adam" else Muon({"w": weight}, 0.1, 0.0, False)
        for _ in range(200):
            optimiser.zero_grad()
            error = (inputs @ weight - wanted).square().mean()
            error.backward()
            optimiser.step()
        return float(error.detach())

    assert after("muon") < 0.5 * after("adam")
