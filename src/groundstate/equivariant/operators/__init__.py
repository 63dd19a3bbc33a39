"""Equivariant operators on compiled kernels: harmonics, message, product; each with two derivatives.

`message`, `product` and `harmonics` take a `KernelSpec` and tensors; `operators_library` says whether that shape has
kernels here, and why not. They compute what `TensorProduct`, `SymmetricContraction` and `spherical_harmonics` compute.
"""

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.operators.calls import (
    operators_library,
    operators_missing,
    operators_plan,
    threads_for_kernels,
)
from groundstate.equivariant.operators.harmonics import harmonics
from groundstate.equivariant.operators.message import message, radial_table
from groundstate.equivariant.operators.product import product
from groundstate.equivariant.operators.scope import derivatives

__all__ = [
    "KernelSpec",
    "derivatives",
    "harmonics",
    "message",
    "operators_library",
    "operators_missing",
    "operators_plan",
    "product",
    "radial_table",
    "threads_for_kernels",
]
