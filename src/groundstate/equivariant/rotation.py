"""How features turn with the frame: rotation matrices of the harmonics."""

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.equivariant.coupling import coupling_coefficients


def wigner_D(l: int, rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "component component"]:
    """The orthogonal matrix D with Y_l(R r) = D Y_l(r) for any rotation or reflection R acting on column vectors.

    Built by raising the degree one at a time, D_l = (2l+1) Cᵀ (D_{l−1} ⊗ D_1) C, so improper R needs no special case
    and gradients flow. Dtype of `rotation`. Checked: tests/equivariant/test_coupling.py
    """
    cyclic = [1, 2, 0]  # Cartesian indices of the components y, z, x
    vector = rotation[cyclic][:, cyclic]
    matrix = torch.ones((1, 1), dtype=rotation.dtype, device=rotation.device)
    for degree in range(1, l + 1):
        coefficients = torch.tensor(coupling_coefficients(degree - 1, 1, degree)).to(rotation)
        matrix = (2 * degree + 1) * torch.einsum("abc,ad,be,def->cf", coefficients, matrix, vector, coefficients)
    return matrix


def rotation_matrix(lmax: int, rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "irrep irrep"]:
    """`wigner_D` of every degree 0 … lmax on the diagonal: how a whole feature turns."""
    return torch.block_diag(*(wigner_D(l, rotation) for l in range(lmax + 1)))
