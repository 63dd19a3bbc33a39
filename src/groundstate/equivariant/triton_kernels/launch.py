"""Generated text becomes kernels; tensors are checked, blocks are chosen, sums are cut into pieces."""

import linecache
from contextlib import nullcontext
from hashlib import sha256
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

CHANNELS_OF_A_WARP = 64
"""Two for each lane, one 64-bit load; fewer where the number of channels is not a multiple of 64."""

OF_A_PIECE = 64
"""Edges or atoms that one instance adds up before the pieces of a segment are added."""


def load(text: str) -> ModuleType:
    """Kernels of a generated text, compiled by Triton when they are first launched.

    The text stays in memory; it is filed with `linecache`, where Triton and tracebacks look for it.
    """
    try:
        import_module("triton")
    except ImportError as error:
        raise ValueError(
            "EQUIVARIANT_TRITON: triton is not installed. The kernels for GPUs are compiled by it. "
            "Install a build of torch for the GPU, which brings triton, or `pip install triton`."
        ) from error
    name = f"<kernels {sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def channel_block(channels: int) -> int:
    """Largest power of two ≤ 64 that divides the channels."""
    block = min(CHANNELS_OF_A_WARP, channels & -channels)
    if block < 16:
        raise ValueError(
            f"EQUIVARIANT_CHANNELS: {channels} channels are not a multiple of 16. Tables and kernels work on blocks of "
            "16. Choose a multiple of 32."
        )
    return block


def launch(kernel: Any, grid: tuple[int, ...], *tensors: Any, **constants: Any) -> None:
    """Starts a kernel with one warp for each instance, on the device of the first tensor; no instance, no launch."""
    if min(grid) == 0:
        return
    device = tensors[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[grid](*tensors, **constants, num_warps=1, enable_fp_fusion=True)


def contiguous(**tensors: Tensor | None) -> tuple[Any, ...]:
    """The tensors, dense in memory; refused unless all are on one device and those with fractions are of one type."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    devices = {tensor.device for tensor in given.values()}
    types = {tensor.dtype for tensor in given.values() if tensor.is_floating_point()}
    if len(devices) > 1 or len(types) > 1:
        found = ", ".join(f"{name} {tensor.dtype} on {tensor.device}" for name, tensor in given.items())
        raise ValueError(
            f"EQUIVARIANT_MIXED: tensors differ in number type or device: {found}. A kernel reads raw memory. "
            "Convert them to one."
        )
    return tuple(None if tensor is None else tensor.contiguous() for tensor in tensors.values())


class Pieces(NamedTuple):
    """A sorted list cut where its segment changes and after `OF_A_PIECE` members; trailing pieces are empty."""

    order: Int[Tensor, " member"]  # members, sorted by segment
    segment: Int[Tensor, " piece"]
    begin: Int[Tensor, " piece"]  # first and one past the last position in `order`
    end: Int[Tensor, " piece"]
    first: Int[Tensor, " segments_and_one"]  # first piece of each segment


def pieces(segment_of: Int[Tensor, " member"], segments: int) -> Pieces:
    """Cuts without waiting for the device: the number of pieces is an upper bound that sizes alone give."""
    device, members = segment_of.device, len(segment_of)
    ordered, order = torch.sort(segment_of, stable=True)
    bounds = torch.searchsorted(ordered, torch.arange(segments + 1, device=device))
    number = (bounds.diff() + OF_A_PIECE - 1) // OF_A_PIECE
    first = torch.cat([number.new_zeros(1), number.cumsum(0)])
    limit = (members + min(segments, members) * (OF_A_PIECE - 1)) // OF_A_PIECE
    numbers = torch.arange(limit, device=device)
    segment = torch.searchsorted(first[1:], numbers, right=True).clamp_(max=segments - 1)
    begin = bounds[segment] + (numbers - first[segment]) * OF_A_PIECE
    return Pieces(order, segment, begin, torch.minimum(begin + OF_A_PIECE, bounds[segment + 1]), first)
