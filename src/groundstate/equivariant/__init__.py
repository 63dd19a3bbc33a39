"""Tensors that turn with the frame: conventions, couplings, layers, and the kernels generated for them. Knows no atoms.

Names load what they need: couplings and the kernel generator come without torch, so that an installation can build
kernels in an environment that has none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundstate.equivariant.coupling import (
        Path,
        coupling_coefficients,
        dense_coupling,
        natural_parity_paths,
    )
    from groundstate.equivariant.experts import Mixture
    from groundstate.equivariant.factorisation import Factorisation, factorise
    from groundstate.equivariant.harmonics import spherical_harmonics
    from groundstate.equivariant.irreps import IrrepLayout, degree_slice, dimension
    from groundstate.equivariant.product import (
        ClassedIrrepLinear,
        Constant,
        IrrepLinear,
        SymmetricContraction,
        TensorProduct,
        unit_normal,
    )
    from groundstate.equivariant.rotation import rotation_matrix, wigner_D
    from groundstate.equivariant.symmetric import CouplingTree, SymmetricCouplings, symmetric_couplings

_MODULES = {
    "coupling": ("Path", "coupling_coefficients", "dense_coupling", "natural_parity_paths"),
    "experts": ("Mixture",),
    "factorisation": ("Factorisation", "factorise"),
    "irreps": ("IrrepLayout", "degree_slice", "dimension"),
    "product": (
        "ClassedIrrepLinear",
        "Constant",
        "IrrepLinear",
        "SymmetricContraction",
        "TensorProduct",
        "unit_normal",
    ),
    "rotation": ("rotation_matrix", "wigner_D"),
    "harmonics": ("spherical_harmonics",),
    "symmetric": ("CouplingTree", "SymmetricCouplings", "symmetric_couplings"),
}
_FROM = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ClassedIrrepLinear",
    "Constant",
    "CouplingTree",
    "Factorisation",
    "IrrepLayout",
    "IrrepLinear",
    "Mixture",
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


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module 'groundstate.equivariant' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
    globals()[name] = value
    return value
