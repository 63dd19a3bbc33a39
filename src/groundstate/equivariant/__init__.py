"""Tensors that turn with the frame: conventions, couplings and layers. Knows no atoms."""

from groundstate.equivariant.coupling import (
    Path,
    coupling_coefficients,
    dense_coupling,
    natural_parity_paths,
    rotation_matrix,
    wigner_D,
)
from groundstate.equivariant.factorisation import Factorisation, factorise
from groundstate.equivariant.irreps import IrrepLayout, degree_slice, dimension
from groundstate.equivariant.product import (
    ClassedIrrepLinear,
    Constant,
    IrrepLinear,
    SymmetricContraction,
    TensorProduct,
    unit_normal,
)
from groundstate.equivariant.spherical_harmonics import spherical_harmonics
from groundstate.equivariant.symmetric import CouplingTree, SymmetricCouplings, symmetric_couplings

__all__ = [
    "ClassedIrrepLinear",
    "Constant",
    "CouplingTree",
    "Factorisation",
    "IrrepLayout",
    "IrrepLinear",
    "Path",
    "SymmetricContraction",
    "SymmetricCouplings",
    "TensorProduct",
    "coupling_coefficients",
    "degree_slice",
    "dense_coupling",
    "dimension",
    "factorise",
    "natural_parity_paths",
    "rotation_matrix",
    "spherical_harmonics",
    "symmetric_couplings",
    "unit_normal",
    "wigner_D",
]
