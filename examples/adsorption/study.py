"""CO on Cu(111) with CHGNet: surface energy, sites, relaxation, adsorption energies, height curves, a hop, a report.

Run: python examples/adsorption/study.py --output adsorption [--quick]
Everything is on disk as it is finished; the same command continues after an interruption.
"""

import argparse
from pathlib import Path

import torch
from ase.build import bulk, fcc111, molecule

import groundstate as gs
from groundstate.cli.builders import adsorption_sections
from groundstate.data import from_ase
from groundstate.report import Page, provenance
from groundstate.simulation import progress_bar

EXPERIMENT = -0.49
"""eV, top site: thermal desorption, Vollmer, Witte, Wöll, Catal. Lett. 77, 97 (2001)."""
LATTICE_CONSTANT = 3.615
"""Å, copper at room temperature; the study relaxes it."""


def lattice_constant(model, folder: Path) -> float:
    """Of the model's own copper: a slab cut at another would be strained."""
    (result,) = gs.relax(
        bulk("Cu", "fcc", a=LATTICE_CONSTANT, cubic=True),
        model,
        cell="isotropic",
        force_tolerance=0.005,
        output=folder / "bulk",
    )
    return float(result.system.cell[0, 0, 0])


def slab(a: float, quick: bool) -> gs.System:
    """Cu(111): 3×3 and four layers, or as little as shows the way."""
    atoms = fcc111("Cu", (2, 2, 2) if quick else (3, 3, 4), a=a, vacuum=7.5)
    atoms.pbc = True
    return from_ase(atoms)


def carbon_first() -> gs.System:
    """CO with carbon as atom 0, the one that meets the surface."""
    return from_ase(molecule("CO")[[1, 0]] if molecule("CO").numbers[0] == 8 else molecule("CO"))


def main() -> None:
    """The study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="a tiny slab, the top site only, few steps")
    options = parser.parse_args()
    folder, quick = options.output, options.quick
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = gs.load("chgnet")

    a = lattice_constant(model, folder)
    print(f"copper: a = {a:.4f} Å")
    with progress_bar("CO on Cu(111)") as progress:
        result = gs.adsorb(
            slab(a, quick),
            carbon_first(),
            model,
            output=folder / "adsorption",
            progress=progress,
            sites=("top",) if quick else ("top", "bridge", "hollow"),
            heights=(1.6, 1.9) if quick else (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0, 3.5, 4.0, 5.0),
            force_tolerance=0.2 if quick else 0.03,
        )
    print(result.subtracted)
    for one in result.sites:
        energy = "–" if one.energy is None else f"{one.energy:+.3f} eV"
        print(f"{one.site.name}: {energy}, carbon {one.height:.2f} Å above, ended at {one.ended_at} {one.warnings}")

    page = Page("CO on Cu(111) with CHGNet", lead=result.subtracted)
    page.text(f"Lattice constant of the model: {a:.4f} Å. Experiment: {EXPERIMENT} eV, on top.")
    adsorption_sections(page, result)
    page.text(
        "CHGNet learned bulk crystals at the level PBE(+U). A surface, and a molecule beside it, are outside of that:"
        " these numbers show the workflow, not the chemistry of copper.",
        note=True,
    )
    if not quick:
        hop(model, result, page, folder)
    page.facts(provenance(model.potential, packages=["pymatgen"], settings={"quick": quick}))
    print(f"report: {page.write(folder / 'report.html')}")


def hop(model, result, page: Page, folder: Path) -> None:
    """CO from the best site to the next one: a path and its barrier."""
    known = sorted((one for one in result.sites if one.energy is not None), key=lambda one: one.energy)
    if len(known) < 2 or known[0].ended_at == known[1].ended_at:
        page.text("No hop: fewer than two sites hold the molecule.", note=True)
        return
    start, end = known[0], known[1]
    structure = start.relaxation.system
    height = structure.positions[: result.slab.system.n_atoms, 2]
    fixed = torch.zeros(structure.n_atoms, dtype=torch.bool)
    fixed[: len(height)] = height < height.min() + 0.5 * (height.max() - height.min())
    with progress_bar("hop") as progress:
        (path,) = gs.neb(
            structure,
            end.relaxation.system,
            model,
            images=5,
            force_tolerance=0.05,
            fixed_atoms=fixed,
            output=folder / "hop",
            progress=progress,
        )
    words = f"{start.ended_at} to {end.ended_at}: {path.status}"
    if path.barrier_forward is not None:
        words += f", barrier {path.barrier_forward:.3f} eV forward, {path.barrier_backward:.3f} eV back"
    print(words, path.warnings, path.notes)
    page.heading("A hop")
    page.text(words)
    for note in (*path.warnings, *path.notes):
        page.text(note, note=True)
    if path.profile is not None:
        page.table(
            ["length (Å)", "energy (eV)"],
            list(zip(path.profile.coordinate.tolist(), path.profile.energy.tolist(), strict=True)),
            "images of the band",
        )


if __name__ == "__main__":
    main()
