"""Calling a library of kernels with tensors."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native.library import Library, Plan, Unavailable, find

_ATOMS_PER_THREAD = 8
"""Fewer are not worth starting a thread for."""


@cache
def operators_plan(spec: KernelSpec) -> Plan:
    """What the operators of a shape are compiled from."""
    return Plan(f"operators-{spec.name}", spec.operators)


def operators_library(spec: KernelSpec) -> Library | Unavailable:
    """The compiled operators of a shape, checked against plain torch when first loaded; or why there are none."""
    return find(operators_plan(spec), check=_check_of(spec), remember="operators")


def operators_missing(spec: KernelSpec, device: torch.device) -> Unavailable | None:
    """Why the operators of a shape cannot run on a device; `None` where they can."""
    if device.type == "cpu":
        found = operators_library(spec)
        return found if isinstance(found, Unavailable) else None
    if device.type != "cuda":
        return Unavailable(f"it lies on {device}", "Move it to the CPU or to a CUDA device")
    return _register_on_cuda()


@cache
def _register_on_cuda() -> Unavailable | None:
    if find_spec("triton") is None:
        return Unavailable("triton is not installed", "Install a build of torch for the GPU, which brings it")
    from groundstate.equivariant.triton_kernels.register import register  # it imports the operators

    register()
    return None


@cache
def _check_of(spec: KernelSpec) -> Callable[[Library], str | None]:
    from groundstate.equivariant.operators.self_test import check_operators  # it calls operators itself

    return partial(check_operators, spec)


_under_test: dict[str, Library] = {}


@contextmanager
def using(spec: KernelSpec, library: Library) -> Iterator[None]:
    """Within it, operators of a shape call this library, whatever is installed."""
    _under_test[spec.name] = library
    try:
        yield
    finally:
        del _under_test[spec.name]


def call(spec: str, function: str, *arguments: Any) -> None:
    """Call a function of the library of that name; tensors are passed by address, `None` as null."""
    library = _under_test.get(spec) or operators_library(parsed(spec))
    if isinstance(library, Unavailable):
        raise RuntimeError(f"KERNELS_UNAVAILABLE: {library.reason}. {library.fix}")
    invoke(library, function, *arguments)


def invoke(library: Library, function: str, *arguments: Any) -> None:
    """The same for a library at hand."""
    getattr(library, function)(*(_plain(argument) for argument in arguments))


_granted: list[int] = []


@contextmanager
def threads_for_kernels() -> Iterator[None]:
    """Within it kernels have torch's threads to themselves, and torch's own operations run on one.

    For work that is nearly all kernels: torch's threads wait for its next operation in a busy loop, on the cores that
    kernels could use.
    """
    threads = torch.get_num_threads()
    _granted.append(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _granted.pop()


def threads_for(atoms: int) -> int:
    """Threads to use for that many atoms."""
    threads = _granted[-1] if _granted else torch.get_num_threads()
    return max(1, min(threads, atoms // _ATOMS_PER_THREAD))


parsed = cache(KernelSpec.parse)
"""Specifications by name; operators carry names, which a traced graph can hold."""


def ready(spec: str, *tensors: Tensor) -> list[Tensor]:
    """Contiguous tensors of the number type the kernels compute in."""
    dtype = getattr(torch, parsed(spec).dtype)
    for tensor in tensors:
        if tensor.dtype != dtype or tensor.device.type != "cpu":
            raise ValueError(
                f"KERNEL_TENSOR: a tensor of {tensor.dtype} on {tensor.device} was given to kernels of {spec}. They "
                "read memory of one type on the CPU. Convert it, or use kernels of its type."
            )
    return [tensor.contiguous() for tensor in tensors]


def _plain(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    return ctypes.c_int64(argument) if isinstance(argument, int) else argument
