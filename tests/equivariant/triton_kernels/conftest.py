"""Where the kernels run: on a GPU, or in Triton's interpreter on a CPU; nowhere without triton."""

import os
from importlib.util import find_spec

import pytest
import torch

# `make test-triton` installs triton and runs this folder; elsewhere it is not collected.
collect_ignore_glob = [] if find_spec("triton") else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def device() -> torch.device:
    """Skips the folder, and says why, where the kernels cannot run."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not interpreted and not torch.cuda.is_available():
        pytest.skip("no GPU and TRITON_INTERPRET is not 1: `make test-triton` runs these in the interpreter")
    return torch.device("cpu" if interpreted else "cuda")


@pytest.fixture(params=[(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["float64", "float32"])
def precision(request: pytest.FixtureRequest) -> tuple[torch.dtype, float]:
    """Number type of the kernels and the error allowed, relative to the largest number of the reference."""
    dtype, tolerance = request.param
    return dtype, tolerance
