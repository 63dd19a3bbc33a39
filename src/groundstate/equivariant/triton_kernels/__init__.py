"""The operators on a GPU, or in Triton's interpreter: generated kernels, loaded and launched.

Functions take a program and tensors on one device, all of one number type, and return new tensors; they record nothing
for autograd. torch and triton are needed when a function is called, not when a kernel is generated.
"""

from groundstate.equivariant.triton_kernels.contraction import (
    contraction_backward,
    contraction_forward,
    contraction_second,
)
from groundstate.equivariant.triton_kernels.harmonics import (
    harmonics_forward,
    harmonics_jvp,
    harmonics_second,
    harmonics_vjp,
)
from groundstate.equivariant.triton_kernels.message import (
    message_backward,
    message_forward,
    message_second,
    message_tangent,
)

__all__ = [
    "contraction_backward",
    "contraction_forward",
    "contraction_second",
    "harmonics_forward",
    "harmonics_jvp",
    "harmonics_second",
    "harmonics_vjp",
    "message_backward",
    "message_forward",
    "message_second",
    "message_tangent",
]
