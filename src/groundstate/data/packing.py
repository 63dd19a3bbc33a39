"""Which structures share a batch: what each costs, batches of like cost, and a batch dealt out to processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from groundstate.atoms import OptionError

EDGES_PER_ATOM = 30
"""Edges that take as long to learn from as what is done once per atom: 23 and 40 for MACE of size S and M on a CPU."""
_OPEN_BATCHES = 16
"""Batches kept open while packing: enough to fill to a few per cent, few enough that batches stay random."""


@dataclass(frozen=True, eq=False)
class Sizes:
    """Atoms of each record, and edges: ordered pairs within the cutoff of the potential they are for."""

    atoms: Int[np.ndarray, " record"]
    edges: Int[np.ndarray, " record"]

    @property
    def cost(self) -> Int[np.ndarray, " record"]:
        """Work, in edges."""
        return self.edges + EDGES_PER_ATOM * self.atoms


@dataclass(frozen=True)
class Limits:
    """How much goes into one batch: a number of structures, or as many as stay within atoms and edges.

    A structure beyond the limits is a batch of its own.
    """

    batch_size: int | None = None
    max_atoms: int | None = None
    max_edges: int | None = None

    def __post_init__(self) -> None:
        given = [limit for limit in (self.batch_size, self.max_atoms, self.max_edges) if limit is not None]
        by_size = self.max_atoms is not None or self.max_edges is not None
        if (self.batch_size is not None) == by_size or any(limit < 1 for limit in given):
            raise OptionError(
                "E-BATCH-SIZE",
                f"batches need positive limits, got batch_size={self.batch_size}, max_atoms={self.max_atoms},"
                f" max_edges={self.max_edges}",
                fix="give batch_size (structures per batch), or max_atoms and max_edges (their sums), one or both",
            )


def pack(sizes: Sizes, limits: Limits, *, seed: int = 0, epoch: int = 0, shuffle: bool = True) -> list[list[int]]:
    """Indices of the records of each batch of an epoch: every record once, the same for the same seed and epoch.

    Checked: tests/data/test_packing.py
    """
    order = list(range(len(sizes.atoms)))
    # One stream of random numbers per (seed, epoch): an epoch can be rebuilt without playing the earlier ones.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    if shuffle:
        order = torch.randperm(len(order), generator=generator).tolist()
    if limits.batch_size is not None:
        size = limits.batch_size
        return [order[start : start + size] for start in range(0, len(order), size)]
    given = [(sizes.atoms, limits.max_atoms), (sizes.edges, limits.max_edges)]
    columns, most = zip(*((column.tolist(), limit) for column, limit in given if limit is not None), strict=True)
    packed = _packed(order, list(zip(*columns, strict=True)), most, _OPEN_BATCHES if shuffle else 1)
    if shuffle:
        packed = [packed[i] for i in torch.randperm(len(packed), generator=generator).tolist()]
    return packed


def deal(members: Sequence[int], cost: Int[np.ndarray, " record"], pieces: int) -> list[list[int]]:
    """The members of one batch in pieces of like cost, each in the order given; some are empty when members are few.

    The dearest first, each to the piece that has least (Graham, SIAM J. Appl. Math. 17, 416 (1969)): no piece costs
    more than 4/3 of what the best division would.
    """
    if pieces == 1:
        return [list(members)]
    loads, owner = [0] * pieces, [0] * len(members)
    for place in sorted(range(len(members)), key=lambda place: (-int(cost[members[place]]), place)):
        owner[place] = loads.index(min(loads))
        loads[owner[place]] += int(cost[members[place]])
    return [[member for member, at in zip(members, owner, strict=True) if at == piece] for piece in range(pieces)]


def _packed(
    order: Sequence[int], sizes: Sequence[tuple[int, ...]], limits: Sequence[int], n_open: int
) -> list[list[int]]:
    """Best fit into a few open batches; the fullest is closed when nothing fits."""
    closed: list[list[int]] = []
    open_batches: list[list[int]] = []
    loads: list[tuple[int, ...]] = []

    def fullness(b: int) -> float:
        return max(load / limit for load, limit in zip(loads[b], limits, strict=True))

    for index in order:
        sums = [tuple(a + b for a, b in zip(load, sizes[index], strict=True)) for load in loads]
        fitting = [b for b, total in enumerate(sums) if all(a <= limit for a, limit in zip(total, limits, strict=True))]
        if fitting:
            best = max(fitting, key=fullness)
            open_batches[best].append(index)
            loads[best] = sums[best]
            continue
        if len(open_batches) == n_open:
            fullest = max(range(n_open), key=fullness)
            closed.append(open_batches.pop(fullest))
            loads.pop(fullest)
        open_batches.append([index])
        loads.append(sizes[index])
    return closed + open_batches
