"""The sum over neighbours against the tensor product of `equivariant`, edge by edge, and its derivatives."""

import pytest
import torch
from torch import Tensor

from groundstate.atoms import Edges, Geometry, System, UndefinedPropertyError
from groundstate.equivariant import TensorProduct, spherical_harmonics
from groundstate.potentials.mace import Message
from groundstate.potentials.mace import message as module
from groundstate.potentials.mace.slots import Slots
from small_mace import cluster, crystal


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uneven() -> Edges:
    """A crowded structure, a sparse one and a lone atom: rows are split for the first and padded for the others."""
    lone = System.single([[0.0, 0.0, 0.0]], [1])
    sparse = System.single([[0.0, 0.0, 2.1 * i] for i in range(40)], [1] * 40)
    return Geometry.of(System.batch([crystal(), sparse, lone, cluster()]), 4.5).edges(4.5)


@pytest.mark.parametrize(("lmax_features", "block"), [(0, 10**9), (1, 10**9), (2, 10**9), (1, 300)])
def test_equals_the_tensor_product_edge_by_edge(
    lmax_features: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    edges, channels = uneven(), 3
    n_atoms, n_edges = len(edges.receiver_ptr) - 1, len(edges.receivers)
    slots = Slots.of(edges, 4.5, torch.float64)
    assert slots.atom_of_row is not None
    message, product = Message(lmax_features, 3, 3, 7.0), TensorProduct(lmax_features, 3, 3)
    assert message.paths == product.paths
    features = draw(n_atoms, (lmax_features + 1) ** 2, channels)
    distances = torch.linalg.vector_norm(slots.vectors, dim=1)
    harmonics = spherical_harmonics(3, slots.vectors / distances[:, None])
    real = distances < 4.5
    assert int(real.sum()) == n_edges
    weights = draw(len(message.paths), len(real), channels, seed=1) * real[None, :, None]
    blocks = message(features, slots, harmonics, weights)
    of_edges = product(features[slots.senders[real]], harmonics[real], weights[:, real].transpose(0, 1)) / 7.0
    rows = torch.zeros(n_atoms, product.layout.rows, channels, dtype=torch.float64)
    rows = rows.index_add(0, slots.receivers[real], of_edges)
    for l, found in enumerate(blocks):
        expected = rows[:, product.layout.rows_of(l)].reshape(n_atoms, 2 * l + 1, -1).transpose(0, 1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", [10**9, 40])
def test_derivatives(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    edges = Geometry.of(crystal(), 2.5).edges(2.5)
    slots = Slots.of(edges, 2.5, torch.float64)
    message, n_slots = Message(1, 1, 1, 2.0), len(slots.senders)

    def total(features: Tensor, harmonics: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        return tuple(message(features, slots, harmonics, weights))

    inputs = [draw(3, 4, 1), draw(n_slots, 4, seed=1), draw(len(message.paths), n_slots, 1, seed=2)]
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(total, inputs)
    assert torch.autograd.gradgradcheck(total, inputs)


def test_a_third_derivative_is_refused() -> None:
    edges = Geometry.of(crystal(), 2.5).edges(2.5)
    slots = Slots.of(edges, 2.5, torch.float64)
    message, n_slots = Message(1, 1, 1, 2.0), len(slots.senders)
    features = draw(3, 4, 1).requires_grad_()
    blocks = message(features, slots, draw(n_slots, 4), draw(len(message.paths), n_slots, 1).requires_grad_())
    first = torch.autograd.grad(torch.cat(blocks).square().sum(), features, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), features, create_graph=True)[0]
    with pytest.raises(UndefinedPropertyError, match="E-THIRD-DERIVATIVE"):
        torch.autograd.grad(second.sum(), features)


def test_slots_hold_every_edge_once() -> None:
    edges = uneven()
    slots = Slots.of(edges, 4.5, torch.float64)
    real = torch.linalg.vector_norm(slots.vectors, dim=1) < 4.5
    assert torch.equal(slots.vectors[real], edges.vectors)
    assert torch.equal(slots.senders[real], edges.senders)
    assert torch.equal(slots.receivers[real], edges.receivers)
    assert (slots.vectors[~real] == torch.tensor([0.0, 0.0, 9.0], dtype=torch.float64)).all()
    assert len(slots.senders) < 2 * len(edges.senders) + 4 * len(edges.receiver_ptr)
