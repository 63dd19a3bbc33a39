"""Verbs for properties of crystals: eos, elastic, phonons, thermal_expansion, thermal_conductivity, follow_mode.

>>> import groundstate as gs
>>> for outcome in gs.elastic(["MgO.cif", "Si.cif"], "chgnet"):
...     print(outcome.problem or outcome.value.averages)

Each takes many structures and gives one `Outcome` each: a value, or the reason why there is none. A public model named
here is loaded in float64, which derivatives of forces need; a loaded model is taken as it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundstate import zoo
from groundstate.api.sources import File, LoadedModel, Source, configured, load, systems
from groundstate.atoms import Allowances, RunError, System
from groundstate.simulation import Callback, silent
from groundstate.simulation.properties import (
    ConductivityConfig,
    DielectricResponse,
    ElasticConfig,
    ElasticTensor,
    EOSConfig,
    EquationOfState,
    Followed,
    ImaginaryMode,
    Outcome,
    PhononConfig,
    Phonons,
    QHAConfig,
    ThermalConductivity,
    ThermalExpansion,
    elastic_tensor,
    equation_of_state,
    quasi_harmonic,
)
from groundstate.simulation.properties import follow_mode as follow
from groundstate.simulation.properties import phonons as phonons_of
from groundstate.simulation.properties import thermal_conductivity as conductivity_of


def double(model: Any) -> LoadedModel:
    """A public model by name in float64; a file or a loaded model as it is."""
    named = isinstance(model, str) and not model.endswith(".safetensors") and not Path(model).exists()
    return load(zoo.load(model, precision="float64") if named else model)


def eos(
    source: Source,
    model: Any,
    *,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[Outcome[EquationOfState]]:
    """Equation of state of every crystal; `options` are fields of `EOSConfig`."""
    config = configured(EOSConfig, options)
    batch = System.batch(systems(source))
    return equation_of_state(batch, double(model).potential, config, allow=allow, output=output, progress=progress)


def elastic(
    source: Source,
    model: Any,
    *,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[Outcome[ElasticTensor]]:
    """Elastic constants of every crystal; `options` are fields of `ElasticConfig`."""
    config = configured(ElasticConfig, options)
    batch = System.batch(systems(source))
    return elastic_tensor(batch, double(model).potential, config, allow=allow, output=output, progress=progress)


def phonons(
    source: Source,
    model: Any,
    *,
    dielectric: DielectricResponse | Mapping[int, DielectricResponse] | None = None,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[Outcome[Phonons]]:
    """Phonons of every crystal; `options` are fields of `PhononConfig`.

    dielectric   Born charges and ε∞ of the one structure, or by index of several
    """
    return phonons_of(
        System.batch(systems(source)),
        double(model).potential,
        configured(PhononConfig, options),
        dielectric=_by_index(dielectric),
        allow=allow,
        output=output,
        progress=progress,
    )


def thermal_expansion(
    source: Source,
    model: Any,
    *,
    dielectric: DielectricResponse | Mapping[int, DielectricResponse] | None = None,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[Outcome[ThermalExpansion]]:
    """Thermal expansion, B(T), C_p of every crystal; `options` are fields of `QHAConfig`."""
    return quasi_harmonic(
        System.batch(systems(source)),
        double(model).potential,
        configured(QHAConfig, options),
        dielectric=_by_index(dielectric),
        allow=allow,
        output=output,
        progress=progress,
    )


def thermal_conductivity(
    source: Source,
    model: Any,
    *,
    allow: Allowances | None = None,
    output: File | None = None,
    progress: Callback = silent,
    **options: Any,
) -> list[Outcome[ThermalConductivity]]:
    """Thermal conductivity of every crystal; `options` are fields of `ConductivityConfig`."""
    config = configured(ConductivityConfig, options)
    batch = System.batch(systems(source))
    return conductivity_of(batch, double(model).potential, config, allow=allow, output=output, progress=progress)


def follow_mode(outcome: Outcome[Phonons], model: Any, mode: ImaginaryMode | None = None, **options: Any) -> Followed:
    """The structure an imaginary mode leads to; without `mode`, the worst that is no noise. See `follow_mode` there."""
    found = outcome.unwrap()
    chosen = mode or next((m for m in found.imaginary if m.kind != "acoustic noise"), None)
    if chosen is None:
        raise RunError("E-MODE-STABLE", "the crystal has no imaginary mode", fix="there is nothing to follow")
    return follow(found.lattice, chosen, double(model).potential, **options)


def _by_index(
    given: DielectricResponse | Mapping[int, DielectricResponse] | None,
) -> Mapping[int, DielectricResponse] | None:
    return {0: given} if isinstance(given, DielectricResponse) else given
