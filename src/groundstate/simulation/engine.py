"""Forces for a batch that moves: neighbour lists reused while they are complete, failures kept to their structure."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from groundstate.atoms import Graph, GroundstateError, System, VerletList
from groundstate.potentials import Potential, evaluate
from groundstate.simulation.memory import exhausted, ran_out

Found = tuple[dict[str, Tensor], dict[int, GroundstateError]]


class Shortage(NamedTuple):
    """Memory ran out with `failed` atoms in a batch; `computed` at most are taken together since."""

    failed: int
    computed: int

    def __str__(self) -> str:
        return f"memory ran out for {self.failed} atoms together; computed at most {self.computed} at a time since"


@runtime_checkable
class Forces(Protocol):
    """Whatever moves atoms: an engine, or a mixture of one with something else."""

    def evaluate(self, system: System, want: Sequence[str]) -> Found:
        """Quantities of the batch, and the structures that fail."""


class Engine:
    """A potential with the neighbour lists of the structures under way.

    Where memory runs out the batch is computed in halves, down to single structures, and remembered (`shortage`).
    Checked: tests/simulation/test_engine.py, test_memory.py
    """

    def __init__(self, potential: Potential, skin: float) -> None:
        self.potential = potential
        self.neighbours = VerletList(potential.cutoff, skin)
        self.latest: Graph | None = None
        """The graph of the latest evaluation, `None` when structures were evaluated one by one."""
        self.shortage: Shortage | None = None

    def select(self, systems: Sequence[int]) -> None:
        """Only these structures stay under way."""
        self.neighbours.select(systems)

    def extend(self, count: int) -> None:
        """Structures were added at the end of the batch."""
        self.neighbours.extend(count)

    def evaluate(self, system: System, want: Sequence[str]) -> Found:
        """Quantities of the batch, and the structures the potential refuses, whose rows are NaN."""
        try:
            self.latest = self.neighbours.graph(system)
        except (GroundstateError, torch.linalg.LinAlgError):
            self.latest = None
            return self._one_by_one(system, want)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            self.latest = None
        most = system.n_atoms if self.shortage is None else self.shortage.computed
        pieces = _pieces(system.atoms_per_system.tolist(), most)
        if len(pieces) == 1:
            return self._whole(system, self.latest, want)
        return _joined([self._part(system, self.latest, piece, want) for piece in pieces], pieces, want)

    def _whole(self, system: System, graph: Graph | None, want: Sequence[str]) -> Found:
        try:
            return evaluate(self.potential, system, want, graph=graph), {}
        except (GroundstateError, torch.linalg.LinAlgError):
            self.latest = None
            return self._one_by_one(system, want)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            if system.n_systems == 1:
                return _nothing(system, want), {0: exhausted(system.n_atoms, error)}
        # Out here the exception is gone, and with it the tensors of the frames it came through.
        return self._halved(system, graph, want)

    def _halved(self, system: System, graph: Graph | None, want: Sequence[str]) -> Found:
        if system.device.type == "cuda":
            torch.cuda.empty_cache()
        middle = system.n_systems // 2
        halves = [range(middle), range(middle, system.n_systems)]
        largest = max(int(system.atoms_per_system[list(half)].sum()) for half in halves)
        if self.shortage is None or largest < self.shortage.computed:
            self.shortage = Shortage(system.n_atoms, largest)
        return _joined([self._part(system, graph, half, want) for half in halves], halves, want)

    def _part(self, system: System, graph: Graph | None, part: range, want: Sequence[str]) -> Found:
        return self._whole(system.select(part), None if graph is None else _cut(graph, system, part), want)

    def _one_by_one(self, system: System, want: Sequence[str]) -> Found:
        parts: list[Found] = []
        for single in system:
            try:
                parts.append((evaluate(self.potential, single, want), {}))
            except (GroundstateError, RuntimeError, MemoryError) as error:
                parts.append((_nothing(single, want), {0: _told(error, single.n_atoms)}))
        return _joined(parts, [range(s, s + 1) for s in range(system.n_systems)], want)


def _told(error: Exception, n_atoms: int) -> GroundstateError:
    """A failure of a potential as the refusal of its structure."""
    if isinstance(error, GroundstateError):
        return error
    if ran_out(error):
        return exhausted(n_atoms, error)
    if isinstance(error, torch.linalg.LinAlgError):
        return GroundstateError("E-RESULT-NOT-FINITE", f"the potential failed: {error}")
    raise error


def _pieces(sizes: Sequence[int], most: int) -> list[range]:
    """Neighbours in the batch whose atoms together are at most `most`, or one structure."""
    pieces, atoms = [range(0)], 0
    for s, size in enumerate(sizes):
        if len(pieces[-1]) and atoms + size > most:
            pieces.append(range(s, s))
            atoms = 0
        pieces[-1] = range(pieces[-1].start, s + 1)
        atoms += size
    return pieces


def _cut(graph: Graph, system: System, part: range) -> Graph:
    """The graph of consecutive structures of a batch; edges are sorted by receiver, so it is one slice."""
    first, last = int(system.system_ptr[part.start]), int(system.system_ptr[part.stop])
    start, stop = int(graph.receiver_ptr[first]), int(graph.receiver_ptr[last])
    return Graph(
        graph.receivers[start:stop] - first,
        graph.senders[start:stop] - first,
        graph.shifts[start:stop],
        graph.receiver_ptr[first : last + 1] - start,
        graph.reverse[start:stop] - start,
        graph.cutoff,
    )


def _joined(parts: Sequence[Found], pieces: Sequence[range], want: Sequence[str]) -> Found:
    found = {name: torch.cat([values[name] for values, _ in parts]) for name in want}
    errors = {piece.start + s: e for (_, failed), piece in zip(parts, pieces, strict=True) for s, e in failed.items()}
    return found, errors


def _nothing(system: System, want: Sequence[str]) -> dict[str, Tensor]:
    """NaN in the shape of the quantities of one structure."""
    nan = torch.full((system.n_atoms, 3, 3), torch.nan, dtype=torch.float64, device=system.device)
    rows = {"energy": nan[:1, 0, 0], "forces": nan[:, :, 0], "strain_gradient": nan[:1]}
    return {name: rows[name] for name in want}
