"""Triton kernels as Python text: from a program to source that `groundstate.equivariant.triton_kernels` compiles.

Number types follow the tensors that a kernel is given; channels lie last and belong to the lanes of one warp. Needs the
standard library and numpy only: neither torch nor triton.
"""

from groundstate.equivariant.generator.triton.contraction import emit_contraction
from groundstate.equivariant.generator.triton.harmonics import emit_harmonics
from groundstate.equivariant.generator.triton.message import emit_message

__all__ = ["emit_contraction", "emit_harmonics", "emit_message"]
