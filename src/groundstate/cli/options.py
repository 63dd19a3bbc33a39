"""Options that several verbs share, with one wording each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from groundstate.atoms import Allowances, OptionError, System
from groundstate.data import Record, read, refuse_existing
from groundstate.report import Page

DEFAULT_MODEL = "chgnet"
"""The zero-shot default; it resolves to an immutable id that every result records."""

Files = Annotated[list[Path], typer.Argument(help="Structure files: extxyz, CIF, POSCAR, vasprun.xml, ASE db, …")]
Model = Annotated[str, typer.Option("--model", "-m", help="A public model by name, or a model file by path.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder for results; the same command continues it.")
]
Report = Annotated[
    Path | None, typer.Option("--report", help="HTML page to leave, complete in itself, with its JSON twin beside it.")
]
Salvage = Annotated[bool, typer.Option("--salvage", help="Leave out frames that cannot be read, and count them.")]
AllowClose = Annotated[bool, typer.Option("--allow-close", help="Compute atoms closer than any bond (repulsive core).")]
IgnoreCharge = Annotated[bool, typer.Option("--ignore-charge", help="Let a charge-blind model answer all the same.")]
IgnoreMultiplicity = Annotated[
    bool, typer.Option("--ignore-multiplicity", help="Let a spin-blind model answer all the same.")
]
AllowDirectForces = Annotated[
    bool, typer.Option("--allow-direct-forces", help="Constant energy with forces that are no derivative of one.")
]
FixedAtoms = Annotated[
    str, typer.Option("--fixed-atoms", help="Atoms that do not move, from 0: '0,3-7'. The same in every structure.")
]


def allowances(close: bool, charge: bool, multiplicity: bool, direct_forces: bool = False) -> Allowances:
    """Refusals lifted on the command line."""
    return Allowances(
        close_atoms=close, ignored_charge=charge, ignored_multiplicity=multiplicity, direct_forces=direct_forces
    )


def refuse_report(report: Path | None) -> None:
    """Refuse before anything is computed to write where something is."""
    if report is not None:
        refuse_existing(report, overwrite=False)


def leave(page: Page, report: Path | None, folder: Path | None = None) -> None:
    """Write a page where it was asked for, and into the folder of the run."""
    for path in (report, None if folder is None else folder / "report.html"):
        if path is not None:
            page.write(path)


def read_files(files: Sequence[Path], *, salvage: bool = False) -> tuple[list[Record], list[str], list[str]]:
    """Records of all files, a short name for each, and what the reader noted."""
    records, names, notes = [], [], []
    for file in files:
        dataset = read(file, salvage=salvage, missing="mask")
        many = len(dataset) > 1
        for record in dataset.records:
            records.append(record)
            names.append(f"{file.name}:{record.provenance.frame}" if many else file.name)
        notes += [f"{file.name}: {note}" for note in dataset.report.notes]
    return records, names, notes


def atom_mask(text: str, system: System) -> torch.Tensor | None:
    """`0,3-7` as a mask over a batch; an index outside a structure is refused."""
    if not text:
        return None
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise OptionError("E-ATOM-LIST", f"'{text}' is not a list of atoms", fix="write it as 0,3-7")
        chosen.update(range(int(first), int(last or first) + 1))
    smallest = int(system.atoms_per_system.min())
    if max(chosen) >= smallest:
        raise OptionError(
            "E-ATOM-LIST",
            f"atom {max(chosen)} does not exist in a structure of {smallest} atoms",
            why="atoms are counted from 0",
            fix="name atoms that every structure has",
        )
    mask = torch.zeros(system.n_atoms, dtype=torch.bool)
    for start in system.system_ptr[:-1].tolist():
        mask[[start + atom for atom in chosen]] = True
    return mask


def cell(value: Any) -> str:
    """A value as a table on the terminal shows it."""
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
