"""CO2 in pure-silica chabazite with CHGNet: Henry coefficient and heat of adsorption at zero loading, a report.

Run: python examples/framework/study.py --output framework [--quick]
Every block of insertions is on disk as it is finished; the same command continues after an interruption.
"""

import argparse
from pathlib import Path

import torch

import groundstate as gs
from groundstate.cli.pores import widom_sections
from groundstate.data import from_pymatgen, to_pymatgen
from groundstate.report import Page, curves, provenance
from groundstate.simulation import progress_bar

HERE = Path(__file__).parent
EXPERIMENT = "20 to 25 kJ/mol for CO2 in pure-silica chabazite near room temperature"
SOURCE = "Maghsoudi, Soltanieh, Bozorgzadeh, Mohamadalizadeh, Adsorption 19, 1045 (2013)"
TEMPERATURES = (273.15, 298.15, 323.15)


def primitive(crystal: gs.System) -> gs.System:
    """The rhombohedral cell: a third of the atoms of the hexagonal one."""
    (structure,) = to_pymatgen(crystal)
    return from_pymatgen(structure.get_primitive_structure()).replace(charge=None)


def carbon_dioxide() -> gs.System:
    """CO2 with its measured bond length of 1.160 Å."""
    return gs.System.single([[0, 0, -1.160], [0, 0, 0], [0, 0, 1.160]], [8, 6, 8])


def main() -> None:
    """The study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="a few insertions")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = gs.load("chgnet")
    framework = primitive(gs.read(HERE / "CHA.cif").records[0].system)
    with progress_bar("CO2 in chabazite") as progress:
        result = gs.widom(
            framework,
            carbon_dioxide(),
            model,
            output=options.output / "insertions",
            progress=progress,
            temperatures_K=TEMPERATURES,
            insertions=60 if options.quick else 6000,
            blocks=2 if options.quick else 10,
            # Silica has no open metal sites: contacts within 1.5 covalent radii (O–O 2.0 Å) cost more than 1 eV.
            overlap=1.5,
        )
    for point in result.points:
        print(
            f"{point.temperature_K:.0f} K: K_H = {point.henry_mol_per_kg_Pa:.3g} ± {point.henry_error:.2g} mol/kg/Pa,"
            f" q_st = {point.heat_kJ_per_mol:.1f} ± {point.heat_error:.1f} kJ/mol,"
            f" {point.effective:.0f} effective insertions"
        )
    for text in (*result.warnings, *result.notes):
        print(f"note: {text}")

    page = Page("CO2 in pure-silica chabazite with CHGNet", lead="Zero loading, rigid framework of 36 atoms.")
    widom_sections(page, result)
    finite = result.interaction[torch.isfinite(result.interaction)]
    near = finite[finite < 1.0].sort().values
    if len(near) > 1:
        share = torch.arange(1, len(near) + 1, dtype=torch.float64) / result.interaction.numel()
        page.figure(
            curves({"insertions": (near.numpy(), share.numpy())}, "interaction energy (eV)", "share below"),
            "How many insertions lie below an energy",
        )
    page.text(f"Experiment: {EXPERIMENT} ({SOURCE}).")
    page.text(
        "CHGNet learned bulk crystals by PBE(+U), which has no dispersion, and no molecules in pores. What it says of"
        " CO2 in silica is extrapolation: a heat near the measured one would not mean that it knows why. This shows"
        " the method; for numbers use a model that was taught dispersion and molecules.",
        note=True,
    )
    page.facts(provenance(model.potential, files=[HERE / "CHA.cif"], settings=dict(result.record["config"])))
    print(f"report: {page.write(options.output / 'report.html')}")


if __name__ == "__main__":
    main()
