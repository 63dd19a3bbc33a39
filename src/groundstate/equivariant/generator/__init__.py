"""From irreps to straight-line code: sparse programs, and emitters that write them as C++ or Triton kernels.

Needs the standard library and numpy only.
"""
