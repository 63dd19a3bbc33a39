"""An independent implementation to compare with, and frames to turn into."""

import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def o3() -> ModuleType:
    """e3nn's O(3) module; its import warns about things that are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("e3nn.o3")


@pytest.fixture(params=["rotation", "reflection"])
def frame(request: pytest.FixtureRequest) -> Tensor:
    """A generic proper or improper orthogonal matrix, float64."""
    generator = torch.Generator().manual_seed(11)
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    matrix = matrix * torch.linalg.det(matrix).sign()
    return matrix if request.param == "rotation" else -matrix
