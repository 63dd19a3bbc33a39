"""Settings that every structure of an energy difference shares, and cells repeated in space."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from groundstate.atoms import Allowances, System
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.progress import Callback
from groundstate.simulation.relaxation import RelaxConfig, RelaxResult, relax


@dataclass(frozen=True)
class Settings:
    """How all structures of a difference are relaxed: tolerance eV/Å, steps, atoms computed together."""

    force_tolerance: float = 0.03
    max_steps: int = 500
    max_atoms_per_batch: int | None = 1024

    def __post_init__(self) -> None:
        options.within("force_tolerance", self.force_tolerance, 1e-6, 1.0, hint="it is in eV/Å; 0.02 to 0.05 is usual")
        options.whole("max_steps", self.max_steps, 1)
        if self.max_atoms_per_batch is not None:
            options.whole("max_atoms_per_batch", self.max_atoms_per_batch, 1)


def relaxed(
    structures: Sequence[System],
    fixed: Sequence[Bool[Tensor, " _atom"]] | None,
    potential: Potential,
    settings: Settings,
    allow: Allowances | None,
    output: Path | None,
    progress: Callback,
) -> list[RelaxResult]:
    """All structures to their minima in one batch, cells as they are."""
    held = [torch.zeros(one.n_atoms, dtype=torch.bool) for one in structures] if fixed is None else list(fixed)
    return relax(
        System.batch(list(structures)),
        potential,
        RelaxConfig(settings.force_tolerance, settings.max_steps, max_atoms_per_batch=settings.max_atoms_per_batch),
        fixed_atoms=torch.cat(held),
        allow=allow,
        output=output,
        progress=progress,
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what libraries tell each other about their future interfaces from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def repeated(single: System, repeats: tuple[int, int, int]) -> System:
    """The crystal in a larger cell, with the atoms of the first cell first."""
    counts = [torch.arange(n, dtype=torch.float64) for n in repeats]
    shifts = torch.cartesian_prod(*counts).to(single.device) @ single.cell[0]
    copies = len(shifts)
    scale = torch.tensor(repeats, dtype=torch.float64, device=single.device)
    return single.replace(
        positions=(shifts[:, None] + single.positions[None]).reshape(-1, 3),
        numbers=single.numbers.repeat(copies),
        masses=single.masses.repeat(copies),
        moments=None if single.moments is None else single.moments.repeat(copies, 1),
        cell=single.cell * scale[None, :, None],
        system_ptr=torch.tensor([0, copies * single.n_atoms], device=single.device),
    )


def widths(single: System) -> list[float]:
    """Distances between opposite faces of the cell, Å."""
    return (1 / torch.linalg.vector_norm(torch.linalg.inv(single.cell[0]), dim=0)).tolist()
