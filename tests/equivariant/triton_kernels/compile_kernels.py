"""Compiles every kernel of small programs for an H100 or H200, where no GPU need be, and prints their names.

The interpreter takes more than the compiler does; `test_compile.py` runs this without it.
"""

from types import ModuleType

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from groundstate.equivariant.generator.algebra import MessageProgram, PolynomialProgram
from groundstate.equivariant.generator.triton import emit_contraction, emit_harmonics, emit_message
from groundstate.equivariant.triton_kernels.launch import load

CONSTANTS = {"K": 64, "KN": 8, "BK": 64, "VT": True, "BLOCK": 32, "PART": 0, "GROUP": 0}
INTEGERS = {"ptr", "senders", "edges", "receivers", "interval", "begin", "end", "order", "first", "classes"}
SIZES = {"E", "SIZE"}


def kind(argument: str) -> str:
    """Type of an argument as Triton writes it."""
    if argument in CONSTANTS:
        return "constexpr"
    return (
        "i32" if argument in SIZES else "*i32" if argument == "which" else "*i64" if argument in INTEGERS else "*fp32"
    )


def compile_all(module: ModuleType) -> None:
    for name, kernel in vars(module).items():
        if not isinstance(kernel, triton.runtime.JITFunction):
            continue
        signature = {argument: kind(argument) for argument in kernel.arg_names}
        constants = {argument: CONSTANTS[argument] for argument in kernel.arg_names if argument in CONSTANTS}
        options = {"num_warps": 1, "enable_fp_fusion": True}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert compiled.asm["cubin"]
        print(name)  # noqa: T201


if __name__ == "__main__":
    compile_all(load(emit_message(MessageProgram(1, 1, 1), 3)))
    compile_all(load(emit_contraction(PolynomialProgram(1, 1, 3))))
    compile_all(load(emit_harmonics(2)))
