"""Verbs about ways between minima: neb, saddle."""

from typing import Any

from torch import Tensor

from groundstate.api.sources import File, Source, configured, load, systems
from groundstate.atoms import Allowances, System
from groundstate.simulation import Callback, silent
from groundstate.simulation.paths import NEBConfig, NEBResult, SaddleConfig, SaddleResult, find_saddles
from groundstate.simulation.paths import neb as minimum_energy_paths


def neb(
    start: Source,
    end: Source,
    model: Any,
    *,
    fixed_atoms: Tensor | None = None,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[NEBResult]:
    """The minimum energy path from each start to its end; `options` are fields of `NEBConfig`.

    >>> (path,) = gs.neb("reactant.cif", "product.cif", "chgnet", relax_ends=True)
    >>> path.barrier_forward
    """
    return minimum_energy_paths(
        System.batch(systems(start)),
        System.batch(systems(end)),
        load(model).potential,
        configured(NEBConfig, options),
        fixed_atoms=fixed_atoms,
        allow=allow,
        output=output,
        progress=progress,
    )


def saddle(
    source: Source,
    model: Any,
    *,
    modes: Tensor | None = None,
    fixed_atoms: Tensor | None = None,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[SaddleResult]:
    """A saddle point near each structure by the dimer method; `options` are fields of `SaddleConfig`."""
    return find_saddles(
        System.batch(systems(source)),
        load(model).potential,
        configured(SaddleConfig, options),
        modes=modes,
        fixed_atoms=fixed_atoms,
        allow=allow,
        output=output,
        progress=progress,
    )
