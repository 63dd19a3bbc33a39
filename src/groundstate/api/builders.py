"""Verbs about defects, surfaces and pores: vacancy, surface, adsorb, widom."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from groundstate.api.sources import File, Source, configured, load, systems
from groundstate.atoms import Allowances, OptionError, System
from groundstate.simulation import Callback, silent
from groundstate.simulation.builders import (
    Adsorption,
    AdsorptionConfig,
    Settings,
    Surface,
    SurfaceConfig,
    Vacancy,
    VacancyConfig,
    adsorption,
    surfaces,
    vacancies,
)
from groundstate.simulation.free_energy.widom import WidomConfig, WidomResult
from groundstate.simulation.free_energy.widom import widom as insertions


def vacancy(
    source: Source,
    model: Any,
    *,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[Vacancy]:
    """Formation energies of the distinct vacancies of a crystal; `options` of `VacancyConfig` and `Settings`.

    >>> gs.vacancy("MgO.cif", "chgnet", elements=("O",), chemical_potentials={"O": -4.9})
    """
    config = configured(VacancyConfig, _with_settings(options))
    return vacancies(
        one(source, "crystal"), load(model).potential, config, allow=allow, output=output, progress=progress
    )


def surface(
    source: Source,
    model: Any,
    *,
    miller: tuple[int, int, int],
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[Surface]:
    """Surface energies of a plane, one per termination; `options` of `SurfaceConfig` and `Settings`."""
    config = configured(SurfaceConfig, _with_settings(options | {"miller": miller}))
    return surfaces(
        one(source, "crystal"), load(model).potential, config, allow=allow, output=output, progress=progress
    )


def adsorb(
    slab: Source,
    molecule: Source,
    model: Any,
    *,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> Adsorption:
    """Adsorption energies of a molecule on the sites of a slab; `options` of `AdsorptionConfig` and `Settings`."""
    config = configured(AdsorptionConfig, _with_settings(options))
    return adsorption(
        one(slab, "slab"),
        one(molecule, "molecule"),
        load(model).potential,
        config,
        allow=allow,
        output=output,
        progress=progress,
    )


def widom(
    framework: Source,
    guest: Source,
    model: Any,
    *,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> WidomResult:
    """Henry coefficient and heat of adsorption at zero loading; `options` are fields of `WidomConfig`."""
    return insertions(
        one(framework, "framework"),
        one(guest, "guest"),
        load(model).potential,
        configured(WidomConfig, options),
        allow=allow,
        output=output,
        progress=progress,
    )


def one(source: Source, name: str) -> System:
    """The only structure of a source."""
    found = systems(source)
    if len(found) != 1:
        what = f"{len(found)} structures were given as the {name}"
        raise OptionError("E-BUILDER-ONE", what, fix="give a file or an object with one structure")
    return found[0]


def _with_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `Settings` gathered into one."""
    names = [f.name for f in fields(Settings)]
    inner = {name: value for name, value in options.items() if name in names}
    outer = {name: value for name, value in options.items() if name not in names}
    return outer | ({"settings": Settings(**inner)} if inner else {})
