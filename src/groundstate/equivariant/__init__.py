"""Tensors that turn with the frame: conventions, couplings and layers. Knows no atoms."""

from groundstate.equivariant.coupling import (
    Path,
    coupling_coefficients,
    natural_parity_paths,
    rotation_matrix,
    wigner_D,
)
from groundstate.equivariant.irreps import IrrepLayout, degree_slice, dimension
from groundstate.equivariant.product import ClassedIrrepLinear, IrrepLinear, SymmetricContraction, TensorProduct
from groundstate.equivariant.spherical_harmonics import spherical_harmonics
from groundstate.equivariant.symmetric import CouplingTree, SymmetricCouplings, symmetric_couplings

__all__ = [
    "ClassedIrrepLinear",
    "CouplingTree",
    "IrrepLayout",
    "IrrepLinear",
    "Path",
    "SymmetricContraction",
    "SymmetricCouplings",
    "TensorProduct",
    "coupling_coefficients",
    "degree_slice",
    "dimension",
    "natural_parity_paths",
    "rotation_matrix",
    "spherical_harmonics",
    "symmetric_couplings",
    "wigner_D",
]
