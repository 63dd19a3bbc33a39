"""Verbs that ask quantum mechanics: label, check."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from groundstate import api, quantum
from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import app, errors, show
from groundstate.cli.pages import reference as pages
from groundstate.cli.tables import formula, print_rows
from groundstate.data import write
from groundstate.quantum.engines.gpaw import ENVIRONMENT
from groundstate.report import provenance
from groundstate.simulation import progress_bar

EngineName = Annotated[str, typer.Option("--engine", "-e", help="gpaw (crystals), pyscf, xtb, abinit or ase.")]
Method = Annotated[str | None, typer.Option(help="Functional or method: PBE, 'CCSD(T)', GFN2-xTB, … .")]
Basis = Annotated[str | None, typer.Option(help="Gaussian basis of pyscf, e.g. def2-TZVP.")]
Cutoff = Annotated[float | None, typer.Option("--cutoff-eV", help="Plane-wave cutoff of gpaw, eV.")]
Spacing = Annotated[float | None, typer.Option("--k-spacing", help="Largest distance of k-points, 1/Å (2π included).")]
Settings = Annotated[
    list[str], typer.Option("--set", "-s", help="Any other setting of the engine: -s 'moments=[[\"Fe\", 2.3]]'.")
]
Processes = Annotated[int, typer.Option(help="Structures computed at the same time.")]
Threads = Annotated[int, typer.Option(help="Threads of each of them.")]
Timeout = Annotated[float, typer.Option("--timeout-s", help="Seconds allowed for one structure.")]
Retry = Annotated[bool, typer.Option("--retry", help="Compute again what failed before.")]
Install = Annotated[bool, typer.Option("--install", help="Make the environment of gpaw first, where it is missing.")]


@app.command()
def label(
    files: opt.Files,
    engine: EngineName,
    method: Method = None,
    basis: Basis = None,
    cutoff_eV: Cutoff = None,
    k_spacing: Spacing = None,
    settings: Settings = [],  # noqa: B006 — typer copies it
    want: Annotated[str, typer.Option(help="Quantities, comma separated; energy, forces, stress by default.")] = "",
    folder: opt.Output = None,
    processes: Processes = 1,
    threads: Threads = 1,
    timeout_s: Timeout = 3600.0,
    retry: Retry = False,
    report: opt.Report = None,
    install: Install = False,
    salvage: opt.Salvage = False,
    as_json: opt.Json = False,
) -> int:
    """Reference labels by quantum mechanics, kept as they are finished.

    With `--output` every label is on disk at once, the same command continues after an interruption, and nothing is
    computed twice; `labels.extxyz` there holds the finished ones under REF_ keys with their level of theory, and
    a page is left. A calculation that did not converge is a failed label with its reason, never a number.

    `groundstate label rattled.extxyz --engine gpaw --method PBE --output labels --processes 2`
    """
    opt.refuse_report(report)
    records, names, notes = opt.read_files(files, salvage=salvage)
    chosen = _engine(engine, method, basis, cutoff_eV, k_spacing, settings, install)
    with progress_bar("label") as progress:
        labels = api.label(
            [record.system for record in records],
            chosen,
            output=folder,
            want=[name.strip() for name in want.split(",")] if want else None,
            processes=processes,
            threads=threads,
            timeout_s=timeout_s,
            retry=retry,
            progress=progress,
        )
    rows = [_row(name, one) for name, one in zip(names, labels, strict=True)]
    if folder is not None:
        pairs = zip(labels, records, strict=True)
        finished = [one.as_record(record.provenance.tags) for one, record in pairs if one.problem is None]
        write(folder / "labels.extxyz", finished, overwrite=True)
    if report is not None or folder is not None:
        opt.leave(pages.labelled(rows, labels, _facts(labels, chosen, files)), report, folder)
    if as_json:
        values = [{name: value.tolist() for name, value in one.values.items()} for one in labels]
        whole = [{**row, "values": found} for row, found in zip(rows, values, strict=True)]
        show({"theory": labels[0].theory.as_dict(), "notes": notes, "structures": whole})
    else:
        print_rows(f"Labelled at {labels[0].theory.id}", rows, notes)
    return 0 if all(one.problem is None for one in labels) else 1


@app.command()
def check(
    files: opt.Files,
    engine: EngineName,
    model: opt.Model = opt.DEFAULT_MODEL,
    method: Method = None,
    basis: Basis = None,
    cutoff_eV: Cutoff = None,
    k_spacing: Spacing = None,
    settings: Settings = [],  # noqa: B006 — typer copies it
    folder: opt.Output = None,
    processes: Processes = 1,
    threads: Threads = 1,
    timeout_s: Timeout = 3600.0,
    report: opt.Report = None,
    install: Install = False,
    salvage: opt.Salvage = False,
    as_json: opt.Json = False,
) -> int:
    """A model against quantum mechanics, here and now: relative energies, forces, stress.

    Energies are compared as differences between structures of one composition, since zeros of energy differ. With
    `--output` the labels are kept and the same command continues.

    `groundstate check rattled.extxyz --model chgnet --engine gpaw --output labels --report check.html`
    """
    opt.refuse_report(report)
    records, names, notes = opt.read_files(files, salvage=salvage)
    chosen = _engine(engine, method, basis, cutoff_eV, k_spacing, settings, install)
    loaded = api.load(model)
    with progress_bar("check") as progress:
        result = api.check(
            [record.system for record in records],
            loaded,
            chosen,
            output=folder,
            processes=processes,
            threads=threads,
            timeout_s=timeout_s,
            progress=progress,
        )
    rows = [
        {
            "structure": name,
            "formula": formula(row.label.system),
            **row.as_dict(),
            "reason": "" if row.problem is None else row.problem.code,
            "notes": [] if row.problem is None else [str(row.problem)],
        }
        for name, row in zip(names, result.rows, strict=True)
    ]
    theory = result.rows[0].label.theory
    if not result.same_theory:
        notes.append(f"the model does not say that it was trained at {theory.label}: part of this may be theory")
    if report is not None:
        facts = provenance(loaded.potential, files=files, settings={"reference": theory.id, "code": theory.code})
        opt.leave(pages.checked(rows, result, facts), report)
    if as_json:
        about = {"model": result.model, "theory": theory.as_dict(), "summary": result.summary(), "notes": notes}
        show({**about, "structures": rows})
    else:
        print_rows(f"{result.model} against {theory.id}", rows, notes)
        errors.print(", ".join(f"{k}: {v:.4g}" for k, v in result.summary().items() if v is not None), markup=False)
    return 0 if all(row.problem is None for row in result.rows) else 1


def _engine(
    name: str,
    method: str | None,
    basis: str | None,
    cutoff_eV: float | None,
    k_spacing: float | None,
    settings: list[str],
    install: bool,
) -> quantum.Engine:
    given = {"method": method, "basis": basis, "cutoff_eV": cutoff_eV, "k_spacing_per_A": k_spacing}
    chosen = {key: value for key, value in given.items() if value is not None}
    if install and name == "gpaw":
        ENVIRONMENT.install(say=lambda line: errors.print(line, markup=False))
    return quantum.engine(name, chosen | dict(_setting(text) for text in settings))


def _setting(text: str) -> tuple[str, Any]:
    """`name=value`; a value that is not TOML is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise OptionError("E-OPTION", f"'{text}' is not name=value", fix="write -s k_mesh=[4,4,4]")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def _row(name: str, label: quantum.Label) -> dict[str, Any]:
    forces = label.values.get("forces")
    return {
        "structure": name,
        "formula": formula(label.system),
        "status": "failed" if label.problem else "on disk" if label.known else "computed",
        "energy (eV)": float(label.values["energy"]) if "energy" in label.values else None,
        "largest force (eV/Å)": None if forces is None else float(torch.linalg.vector_norm(forces, dim=1).max()),
        "seconds": round(label.seconds, 2),
        "reason": "" if label.problem is None else label.problem.code,
        "notes": [] if label.problem is None else [str(label.problem)],
    }


def _facts(labels: list[quantum.Label], engine: quantum.Engine, files: list[Path]) -> dict[str, Any]:
    theory = {name: str(value) for name, value in labels[0].theory.as_dict().items() if value}
    given = {f"{engine.name} {name}": str(value) for name, value in quantum.settings(engine).items()}
    return provenance(files=files, settings={"level of theory": labels[0].theory.id, **theory, **given})
