from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from groundstate.equivariant import degree_slice, rotation_matrix, spherical_harmonics


def vectors(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def unit_vectors(count: int, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(vectors(count, seed), dim=-1)


@pytest.mark.filterwarnings("ignore")
def test_equals_e3nn_with_axes_renamed(o3: ModuleType) -> None:
    """e3nn has y polar; handing it (y, z, x) makes the same functions in the same order."""
    r = vectors(50)
    theirs = o3.spherical_harmonics(list(range(7)), r[:, [1, 2, 0]], normalize=False, normalization="component")
    ours = spherical_harmonics(6, r)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-11)


def test_degree_one_is_the_vector_y_z_x() -> None:
    r = vectors(5)
    torch.testing.assert_close(spherical_harmonics(1, r)[:, 1:], 3**0.5 * r[:, [1, 2, 0]])


def test_addition_theorem() -> None:
    """Σ_m Y_lm(a) Y_lm(b) = (2l+1) P_l(a·b): norm, completeness and rotation invariance at once."""
    a, b = unit_vectors(30, 1), unit_vectors(30, 2)
    product = spherical_harmonics(8, a) * spherical_harmonics(8, b)
    for l in range(9):
        legendre = np.polynomial.legendre.Legendre.basis(l)((a * b).sum(-1).numpy())
        torch.testing.assert_close(product[:, degree_slice(l)].sum(-1), torch.tensor((2 * l + 1) * legendre))


def test_turns_with_the_frame(frame: Tensor) -> None:
    r = unit_vectors(20)
    turned = spherical_harmonics(8, r @ frame.T)
    torch.testing.assert_close(turned, spherical_harmonics(8, r) @ rotation_matrix(8, frame).T, rtol=0, atol=1e-11)


@pytest.mark.parametrize("axis", [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
def test_derivatives_are_finite_on_axes(axis: list[float]) -> None:
    r = torch.tensor([axis], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(spherical_harmonics(8, r).sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


def test_derivatives() -> None:
    r = torch.cat([unit_vectors(2), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spherical_harmonics(4, x), r)
    assert torch.autograd.gradgradcheck(lambda x: spherical_harmonics(4, x), r)


def test_float32_agrees() -> None:
    r = unit_vectors(200)
    single = spherical_harmonics(8, r.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), spherical_harmonics(8, r), rtol=0, atol=2e-5)


def test_no_edges() -> None:
    assert spherical_harmonics(3, torch.zeros(0, 3)).shape == (0, 16)
