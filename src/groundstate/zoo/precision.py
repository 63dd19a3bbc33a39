"""The same potential in double precision: what rounding alone has done to its numbers."""

from copy import deepcopy

import torch

from groundstate.potentials import Potential, Sum
from groundstate.zoo.chgnet import CHGNet


def in_float64(potential: Potential) -> Potential | None:
    """A copy that computes in float64 throughout; `None` where it does so already. Checked: tests/api/test_parity.py"""
    if isinstance(potential, Sum):
        parts = [in_float64(part) for part in potential.potentials]
        if not any(parts):
            return None
        return type(potential)([double or part for double, part in zip(parts, potential.potentials, strict=True)])
    if isinstance(potential, CHGNet):  # its weights are constants, not parameters
        return CHGNet("float64") if potential.precision == "float32" else None
    if any(tensor.dtype == torch.float32 for tensor in potential.state_dict().values()):
        return deepcopy(potential).double()
    return None
