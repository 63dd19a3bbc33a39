"""How much memory the largest piece of a run will take, told before the run starts."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from groundstate.atoms import RunError
from groundstate.simulation.memory import RESOLUTION, available, peak, ran_out

_SHARE = 0.8
"""Of the free memory; the rest is for other programs, and for the tenth by which forecasts were found too low."""
_PLENTY = 1 << 19
"""Bytes per unit of cost that no known model takes: where there is as much, nothing is measured."""
_PROBES = (1 / 8, 1 / 4)
"""Of the largest piece, by cost: the line through both gives what the whole takes."""


def refuse_too_large(
    learn: Callable[[Sequence[int]], None],
    piece: Sequence[int],
    cost: np.ndarray,
    device: torch.device,
    *,
    state_bytes: int,
) -> str:
    """What memory the run needs, for people; RunError E-MEMORY-FORECAST where that is more than there is.

    learn        computes a piece with its gradients, as a step would, and changes nothing
    piece        the records of the largest piece of this process; cost of every record, in edges
    state_bytes  what the optimiser will hold beside the weights, not yet taken
    A piece is proportional to its cost, so small parts of it are measured. Nothing is measured where memory is plenty.
    Checked: tests/training/test_memory.py
    """
    free, total = available(device), int(cost[list(piece)].sum())
    if free is None:
        return "memory unknown on this system"
    if _PLENTY * total + state_bytes <= free:
        return f"{_told(free)} free, plenty for {total} edges at once"
    try:
        each = _bytes_per_cost(learn, piece, cost, device)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise _too_large(float("inf"), free, len(piece), "a quarter of it ran out of memory already") from error
    if each is None:
        return "memory cannot be measured on this system"
    needed = each * total + state_bytes
    if needed > _SHARE * free:
        raise _too_large(needed, free, len(piece), f"{each / 1e3:.3g} kB for each of {total} edges")
    return f"up to {_told(needed)} of {_told(free)} free will be taken, {each / 1e3:.3g} kB an edge"


def _bytes_per_cost(
    learn: Callable[[Sequence[int]], None], piece: Sequence[int], cost: np.ndarray, device: torch.device
) -> float | None:
    """From how the peak grows between parts of a piece; what the process holds anyway is in both."""
    cheapest_first = sorted(piece, key=lambda i: int(cost[i]))
    sums = np.cumsum(cost[cheapest_first])
    ends = [int(np.searchsorted(sums, share * sums[-1])) + 1 for share in _PROBES]
    # The first part is computed twice: what compiling and checking kernels takes is not what a step takes.
    points = []
    for end in (0, ends[0], *ends):
        measured = peak(device, partial(learn, cheapest_first[:end]) if end else _rest)
        if measured is None:
            return None
        points.append((float(sums[end - 1]) if end else 0.0, measured))
    rest, _, small, large = points
    (less, low), (more, high) = (small, large) if large[0] > small[0] else (rest, large)
    return max(high - low, RESOLUTION) / (more - less)


def _rest() -> None:
    """What the process holds anyway."""


def _too_large(needed: float, free: int, members: int, why: str) -> RunError:
    pieces = math.ceil(needed / (_SHARE * free)) if math.isfinite(needed) else 8
    smaller = (
        f"set accumulate {pieces} times as high: the same step in smaller pieces"
        if members > 1
        else "leave out the largest structure"
    )
    return RunError(
        "E-MEMORY-FORECAST",
        f"a step takes up to {_told(needed)} of memory and {_told(free)} are free ({why})",
        why="the run would end out of memory after it has begun",
        fix=f"{smaller}; else smaller batches, a smaller model, or more devices",
    )


def _told(size: float | int) -> str:
    return f"{size / 1e9:.3g} GB" if math.isfinite(size) else "too much"
