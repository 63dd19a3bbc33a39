"""What the property verbs show of each result: a row of the table, and a section of the report.

A row of `None` names the columns of a structure without a result.
"""

from collections.abc import Callable
from typing import Any

import torch

from groundstate.atoms.units import BOLTZMANN
from groundstate.report import Page, bands, curves
from groundstate.simulation.properties import (
    PER_CM,
    ElasticTensor,
    EquationOfState,
    Phonons,
    ThermalConductivity,
    ThermalExpansion,
)

Column = tuple[str, Callable[[Any], Any]]


def _row(columns: tuple[Column, ...], value: Any) -> dict[str, Any]:
    return {name: None if value is None else read(value) for name, read in columns}


def eos_row(value: EquationOfState | None) -> dict[str, Any]:
    """Minimum and curvature."""
    columns: tuple[Column, ...] = (
        ("space group", lambda v: v.space_group),
        ("V (Å³)", lambda v: v.best.volume),
        ("a (Å)", lambda v: v.lengths[0]),
        ("c (Å)", lambda v: v.lengths[2]),
        ("B (GPa)", lambda v: v.best.bulk_modulus_GPa),
        ("± (GPa)", lambda v: v.best.bulk_modulus_error_GPa),
        ("B'", lambda v: v.best.bulk_prime),
        ("off (meV/atom)", lambda v: 1e3 * v.best.residual / v.n_atoms),
    )
    return _row(columns, value)


def eos_page(page: Page, name: str, value: EquationOfState) -> None:
    """Energies and the fitted curve."""
    page.heading(name)
    per_atom = value.volumes / value.n_atoms
    fine = torch.linspace(float(value.volumes[0]), float(value.volumes[-1]), 101, dtype=torch.float64)
    series: dict[str, Any] = {"computed": (per_atom, value.energies / value.n_atoms)}
    fitted = {form: (fine / value.n_atoms, fit.energies_at(fine) / value.n_atoms) for form, fit in value.fits.items()}
    data = {"volume (Å³/atom)": per_atom.tolist(), "energy (eV/atom)": (value.energies / value.n_atoms).tolist()}
    page.figure(curves(series | fitted, "volume (Å³/atom)", "energy (eV/atom)"), f"Energy of {name}", data)
    columns = ("form", "V0 (Å³)", "±", "B (GPa)", "±", "B'", "±", "residual (meV/atom)")
    rows = [
        (
            fit.form,
            fit.volume,
            fit.volume_error,
            fit.bulk_modulus_GPa,
            fit.bulk_modulus_error_GPa,
            fit.bulk_prime,
            fit.bulk_prime_error,
            1e3 * fit.residual / value.n_atoms,
        )
        for fit in value.fits.values()
    ]
    page.table(columns, rows, caption="Fits with standard errors")


def elastic_row(value: ElasticTensor | None) -> dict[str, Any]:
    """The constants of a cubic crystal and the averages of any."""

    def average(name: str) -> Callable[[ElasticTensor], Any]:
        return lambda v: None if v.averages is None else getattr(v.averages, name)

    columns: tuple[Column, ...] = (
        ("space group", lambda v: v.space_group),
        ("C11 (GPa)", lambda v: float(v.constants[0, 0])),
        ("C12 (GPa)", lambda v: float(v.constants[0, 1])),
        ("C44 (GPa)", lambda v: float(v.constants[3, 3])),
        ("± (GPa)", lambda v: float(v.errors.max())),
        ("K Hill (GPa)", average("bulk_hill")),
        ("G Hill (GPa)", average("shear_hill")),
        ("stable", lambda v: "yes" if v.stable else "no"),
    )
    return _row(columns, value)


def elastic_page(page: Page, name: str, value: ElasticTensor) -> None:
    """The three tables of 21 constants."""
    page.heading(name)
    axes = ("xx", "yy", "zz", "yz", "xz", "xy")
    for caption, table in (
        ("Elastic constants, GPa, shear strains doubled", value.constants),
        ("With clamped ions, GPa", value.clamped),
        ("Error estimate, GPa: two strains, and C_ij against C_ji", value.errors),
    ):
        rows = [(axis, *row) for axis, row in zip(axes, table.tolist(), strict=True)]
        page.table(("", *axes), rows, caption=caption)


def phonon_row(value: Phonons | None) -> dict[str, Any]:
    """What tells a stable crystal; its optical modes at Γ approached along x; heat capacity per atom."""
    columns: tuple[Column, ...] = (
        ("space group", lambda v: v.space_group),
        ("stable", lambda v: "yes" if v.stable else "no"),
        ("min (THz)", lambda v: float(v.bands.frequencies_THz.min())),
        ("max (THz)", lambda v: float(v.bands.frequencies_THz.max())),
        ("Γ (cm⁻¹)", lambda v: _listed(v.gamma_directions_THz[0, 3:])),
        ("C_V 300 K (k_B)", _heat_at_300),
        ("border of Φ", lambda v: v.boundary),
    )
    return _row(columns, value)


def _listed(frequencies_THz: torch.Tensor) -> str:
    shown = [f"{x:.1f}" for x in (frequencies_THz * PER_CM).tolist()]
    return " ".join(dict.fromkeys(shown[:12])) + (" …" if len(shown) > 12 else "")


def _heat_at_300(value: Phonons) -> float | None:
    at = (value.thermal.temperatures_K - 300.0).abs()
    atoms = value.gamma_THz.shape[0] // 3
    return None if float(at.min()) > 1e-6 else float(value.thermal.heat_capacity[at.argmin()]) / BOLTZMANN / atoms


def phonon_page(page: Page, name: str, value: Phonons) -> None:
    """Bands, density of states, heat, imaginary modes."""
    page.heading(name)
    data = {
        "q": value.bands.q.tolist(),
        "frequencies_THz": value.bands.frequencies_THz.tolist(),
        "segments": [list(segment) for segment in value.bands.segments],
        "labels": [list(pair) for pair in value.bands.labels],
        "dos_THz": value.spectrum.frequencies_THz.tolist(),
        "dos": value.spectrum.density.tolist(),
    }
    page.figure(bands(value.bands, value.spectrum), f"Phonons of {name}, density of states per primitive cell", data)
    modes = value.gamma_THz.tolist()
    along = value.gamma_directions_THz.tolist()
    rows = [(k, f, f * PER_CM, *(a[k] * PER_CM for a in along)) for k, f in enumerate(modes)]
    columns = ("branch", "Γ (THz)", "Γ (cm⁻¹)", "along x (cm⁻¹)", "along y (cm⁻¹)", "along z (cm⁻¹)")
    page.table(columns, rows, caption="Zone centre; the directions differ where Born charges were given")
    if value.imaginary:
        worst = [(str(mode.q), mode.frequency_THz, mode.kind) for mode in value.imaginary[:12]]
        page.table(("q", "THz", "kind"), worst, caption="Imaginary modes, the worst first")
    page.facts(
        {
            "supercell": str(value.lattice.supercell),
            "largest force subtracted (eV/Å)": value.residual_force,
            "sum rule before it was imposed (eV/Å²)": value.sum_rule,
            "border of the force constants, relative": value.boundary,
            "Born charges": value.lattice.dielectric.source if value.lattice.dielectric else "not given",
        }
    )


def expansion_row(value: ThermalExpansion | None) -> dict[str, Any]:
    """At 300 K, or the nearest temperature reached."""

    def at(name: str, factor: float = 1.0) -> Callable[[ThermalExpansion], float]:
        return lambda v: factor * float(getattr(v, name)[_nearest_300(v)])

    columns: tuple[Column, ...] = (
        ("T (K)", at("temperatures_K")),
        ("V (Å³)", at("volume")),
        ("α linear (10⁻⁶/K)", at("expansion", 1e6 / 3)),
        ("B (GPa)", at("bulk_modulus_GPa")),
        ("C_p (k_B/cell)", at("heat_capacity_P", 1 / BOLTZMANN)),
        ("Grüneisen", at("gruneisen")),
        ("reaches (K)", lambda v: float(v.temperatures_K[-1])),
    )
    return _row(columns, value)


def _nearest_300(value: ThermalExpansion) -> int:
    return int((value.temperatures_K - 300.0).abs().argmin())


def expansion_page(page: Page, name: str, value: ThermalExpansion) -> None:
    """Volume, expansion, bulk modulus and heat capacity against temperature."""
    page.heading(name)
    for label, values in (
        ("volume (Å³ per primitive cell)", value.volume),
        ("linear expansion, a third of the volumetric (10⁻⁶/K)", value.expansion * 1e6 / 3),
        ("isothermal bulk modulus (GPa)", value.bulk_modulus_GPa),
        ("C_p (k_B per primitive cell)", value.heat_capacity_P / BOLTZMANN),
    ):
        data = {"temperature_K": value.temperatures_K.tolist(), label: values.tolist()}
        page.figure(curves({name: (value.temperatures_K, values)}, "temperature (K)", label), label, data)


def conductivity_row(value: ThermalConductivity | None) -> dict[str, Any]:
    """At 300 K, or the nearest temperature computed."""

    def component(i: int) -> Callable[[ThermalConductivity], float]:
        return lambda v: float(v.kappa[int((v.temperatures_K - 300.0).abs().argmin()), i, i])

    columns: tuple[Column, ...] = (
        ("T (K)", lambda v: float(v.temperatures_K[int((v.temperatures_K - 300.0).abs().argmin())])),
        ("κ xx (W/mK)", component(0)),
        ("κ yy (W/mK)", component(1)),
        ("κ zz (W/mK)", component(2)),
        ("mesh", lambda v: v.mesh),
        ("mesh error", lambda v: v.mesh_error),
        ("displaced", lambda v: v.displaced),
    )
    return _row(columns, value)


def conductivity_page(page: Page, name: str, value: ThermalConductivity) -> None:
    """κ against temperature on both meshes."""
    page.heading(name)
    fine, coarse = (k.diagonal(dim1=1, dim2=2).mean(dim=1) for k in (value.kappa, value.coarse))
    series = {
        f"mesh {value.mesh}": (value.temperatures_K, fine),
        "three quarters of it": (value.temperatures_K, coarse),
    }
    data = {"temperature_K": value.temperatures_K.tolist(), "kappa": value.kappa.tolist()}
    label = "mean of the diagonal of κ (W/mK)"
    page.figure(curves(series, "temperature (K)", label, markers=True), f"Thermal conductivity of {name}", data)
