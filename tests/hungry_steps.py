"""Pieces of a step whose appetite for memory is known, and, run as a script, what a new process says of them.

In a process that has computed before, what is freed in passing hides what is taken.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch

from groundstate.atoms import RunError
from groundstate.training import memory

COST = np.full(80, 1_000_000)
KILOBYTES_PER_COST = 0.64


def hungry(indices: Sequence[int]) -> None:
    """Takes what it should for its cost, and touches it: 512 MB for all 80 records."""
    np.ones(int(KILOBYTES_PER_COST * 1e3 / 8 * COST[list(indices)].sum() / 100))


def told(free: int, piece: Sequence[int], learn=hungry) -> str:
    """The forecast, or the refusal, with so many bytes free."""
    memory.available = lambda device: free
    try:
        return memory.refuse_too_large(learn, piece, COST, torch.device("cpu"), state_bytes=0)
    except RunError as error:
        return str(error)


if __name__ == "__main__":
    said = {
        "fits": told(10**9, range(80)),
        "too much": told(3 * 10**8, range(80)),
        "one record": told(3 * 10**8, [3], lambda _: hungry(range(80))),
    }
    print(json.dumps(said))  # noqa: T201 — what the test reads
