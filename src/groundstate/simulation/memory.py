"""How much memory a batch will take, how much there is, and what an exhausted allocator says."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from groundstate.atoms import RunError, System, find_neighbours
from groundstate.potentials import Potential, evaluate

SHARE = 0.7
"""Of the available memory that a forecast fills."""
PIECE = 200
"""Atoms of the largest structure that a probe evaluates whole."""
MOST_PROBED = 256
"""Atoms of the largest probe."""
RESOLUTION = 4 << 20
"""Bytes; a smaller growth of the resident memory may be the allocator's own habits."""
PLENTY = 4 << 20
"""Bytes per atom that no known model takes: where there is as much, nothing is measured."""
MOST_ON_CPU = 2048
"""Atoms that a processor computes together: larger batches leave its caches and gain nothing."""

OF_THIS_MACHINE = frozenset({"E-MEMORY-FORECAST", "E-OUT-OF-MEMORY"})
"""Codes of ends that another machine may not give."""

_SAID = re.compile(
    r"out of memory|can't allocate memory|not enough memory|bad_alloc|CUBLAS_STATUS_ALLOC_FAILED|Failed to allocate",
    re.IGNORECASE,
)
"""torch (CPU, CUDA, HIP, MPS), C++, cuBLAS and warp, each in its own words."""
_RESET_PEAK = "5"
"""What Linux wants to hear in clear_refs to forget the highest resident size."""


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that memory was exhausted, whichever allocator raised it."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and _SAID.search(str(error)) is not None)


def available(device: torch.device) -> int | None:
    """Bytes that may still be taken on a device; `None` where the system does not tell (macOS, Windows).

    On a processor the smaller of what Linux has and what the process's control group allows.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    if device.type != "cpu":
        return None
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable")
    allowed = _left_in_group()
    told = [value for value in (free, allowed) if value is not None]
    return min(told) if told else None


@dataclass(frozen=True)
class Cost:
    """What an evaluation takes beside what is taken already: bytes per atom and per edge.

    edges_per_atom: the most that an atom of the probes has
    """

    per_atom: float
    per_edge: float
    edges_per_atom: int

    @property
    def of_an_atom(self) -> float:
        """Bytes of an atom with the edges it may have."""
        return self.per_atom + self.per_edge * self.edges_per_atom


@dataclass(frozen=True)
class Forecast:
    """The largest batch, in atoms, that memory allows; `None` where it cannot be told. `message` is for people."""

    atoms: int | None
    message: str

    def batch(self, device: torch.device) -> int | None:
        """Atoms to compute together."""
        if device.type == "cuda":
            return self.atoms
        return MOST_ON_CPU if self.atoms is None else min(self.atoms, MOST_ON_CPU)


def forecast(potential: Potential, system: System, want: Sequence[str]) -> Forecast:
    """How many atoms of these structures can be computed together, from short probes on pieces of them.

    Nothing is probed where memory is plenty for all that would be computed together. The structures are sound; a
    potential that refuses or fails on the pieces leaves the answer open. Checked: tests/simulation/test_memory.py
    """
    free = available(system.device)
    if free is None:
        return Forecast(None, "memory unknown on this system")
    together = system.n_atoms if system.device.type == "cuda" else min(system.n_atoms, MOST_ON_CPU)
    together = max(together, int(system.atoms_per_system.max()))
    if PLENTY * together <= free:
        return Forecast(together, f"{free / 1e9:.3g} GB available, enough for {together} atoms together")
    cost = measured(potential, system, want)
    if cost is None:
        return Forecast(None, "memory could not be probed")
    fits = int(SHARE * free / cost.of_an_atom)
    told = f"{cost.of_an_atom / 1e6:.2g} MB per atom, {free / 1e9:.3g} GB available"
    return Forecast(fits, f"{told}: up to {fits} atoms together")


def too_large(n_atoms: int, told: Forecast) -> RunError:
    """The refusal of one structure that does not fit by itself."""
    return RunError(
        "E-MEMORY-FORECAST",
        f"the structure has {n_atoms} atoms and memory is there for {told.atoms} ({told.message})",
        why="it would end out of memory after a long wait",
        fix=f"use at most {told.atoms} atoms, float32, or a machine with more memory; max_atoms_per_batch set by hand"
        " lifts the forecast",
    )


def exhausted(n_atoms: int, error: BaseException) -> RunError:
    """The mark of one structure that alone exhausts memory."""
    said = str(error).strip().split("\n", 1)[0][:200]
    return RunError(
        "E-OUT-OF-MEMORY",
        f"memory ran out for this structure alone, {n_atoms} atoms" + (f": {said}" if said else ""),
        why="there is nothing left to divide",
        fix="use a smaller cell, float32, or a machine with more memory",
    )


def measured(potential: Potential, system: System, want: Sequence[str]) -> Cost | None:
    """Bytes per atom and edge, from the growth of peak memory with the size of batches of pieces; `None` if unseen.

    Pieces are of the largest structure and the densest, evaluated in doubling numbers until the growth stands out. The
    two costs are the non-negative least-squares solution.
    """
    from scipy.optimize import nnls

    rows, most = [], 0
    for s in _chosen(system):
        piece = _piece(system[s])
        graph = find_neighbours(piece, potential.cutoff)
        try:
            row = _growth(potential, piece, graph.n_edges, want)
        except Exception:  # noqa: BLE001 — whatever a piece provokes, the run itself will meet and name
            continue
        if row is None:
            return None
        rows.append(row)
        most = max(most, int(graph.receiver_ptr.diff().max()))
    if not rows:
        return None
    atoms, edges, taken = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    (per_atom, per_edge), _ = nnls(torch.stack([atoms, edges], 1).numpy(), taken.numpy())
    return Cost(float(per_atom), float(per_edge), most)


def _chosen(system: System) -> list[int]:
    sizes = system.atoms_per_system
    densities = torch.where(system.pbc.all(dim=1), sizes / system.volume.clamp_min(1e-6), 0.0)
    return sorted({int(sizes.argmax()), int(densities.argmax())})


def _piece(single: System) -> System:
    """A structure, or a ball of its atoms, in whose middle it is as dense as inside the whole."""
    if single.n_atoms <= PIECE:
        return single
    centre = single.positions.mean(dim=0)
    nearest = torch.linalg.vector_norm(single.positions - centre, dim=1).argsort()[:PIECE]
    ptr = torch.tensor([0, PIECE], device=single.device)
    moments = None if single.moments is None else single.moments[nearest]
    taken = {name: getattr(single, name)[nearest] for name in ("positions", "numbers", "masses")}
    return single.replace(system_ptr=ptr, moments=moments, **taken)


def _growth(potential: Potential, piece: System, edges: int, want: Sequence[str]) -> tuple[int, int, int] | None:
    """Atoms, edges and bytes by which twice as many copies exceed once as many.

    The last doubling counts: smaller batches may have lived in memory that was free inside the process already.
    """
    copies, before = 1, _peak(potential, piece, want)
    while before is not None:
        after = _peak(potential, System.batch([piece] * (2 * copies)), want)
        if after is None:
            break
        if after - before >= RESOLUTION or 2 * copies * piece.n_atoms >= MOST_PROBED:
            return copies * piece.n_atoms, copies * edges, max(after - before, RESOLUTION)
        copies, before = 2 * copies, after
    return None


def peak(device: torch.device, run: Callable[[], object]) -> int | None:
    """The highest memory during a run, bytes, what was taken before included; `None` where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return int(torch.cuda.max_memory_allocated(device))
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return None
    run()
    return _kilobytes(Path("/proc/self/status"), "VmHWM")


def _peak(potential: Potential, system: System, want: Sequence[str]) -> int | None:
    return peak(system.device, lambda: evaluate(potential, system, want))


def _kilobytes(path: Path, field: str) -> int | None:
    """A field of a file of the Linux kernel, in bytes."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024


def _left_in_group(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the control group (version 2, else 1) leaves; page cache that can be dropped counts as free."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            most, now = (root / limit).read_text().strip(), int((root / used).read_text())
            droppable = re.search(r"^(?:total_)?inactive_file (\d+)", (root / cache).read_text(), re.MULTILINE)
        except OSError:
            continue
        if most == "max" or int(most) >= 1 << 60:
            return None
        return max(int(most) - now + (int(droppable[1]) if droppable else 0), 0)
    return None
