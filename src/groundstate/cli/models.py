"""Verbs about models and this machine: models, laws, doctor."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from typer.core import TyperGroup

from groundstate import api, quantum, zoo
from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import app, errors, output, show
from groundstate.cli.pages import models as pages
from groundstate.equivariant.native.report import report as report_kernels
from groundstate.laws import as_table
from groundstate.potentials import checkpoint
from groundstate.potentials.mace.engine.standard import standard_plans
from groundstate.report import provenance

_PACKAGES = {
    "torch": "pip install torch",
    "ase": "pip install ase",
    "vesin": "pip install vesin",
    "lightning-fabric": "pip install 'groundstate[train]'",
    "chgnet": "pip install 'groundstate[chgnet]'",
    "pymatgen": "pip install 'groundstate[pymatgen]'",
    "tensorboard": "pip install 'groundstate[tensorboard]'",
    "pyarrow": "pip install 'groundstate[store]'",
    "h5py": "pip install 'groundstate[hdf5]'",
    "torch-sim-atomistic": "pip install 'groundstate[torchsim]'",
}


class _NameOrVerb(TyperGroup):
    """`models` alone and `models NAME` show; only the words that are verbs here are verbs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """With the verb that is meant where none is said."""
        said = next((word for word in args if not word.startswith("-")), None)
        if said not in self.commands and "--help" not in args:
            args = ["show", *args]
        return list(super().parse_args(ctx, args))


models = typer.Typer(
    cls=_NameOrVerb,
    subcommand_metavar="[NAME | install … | remove … | convert … | merge … | committee …]",
    help="""Which models can be loaded; one in full when named, installed, or converted from another package's file.

    `groundstate models`, `groundstate models chgnet`, `groundstate models --elements Mg,O --licence commercial`
    """,
)
app.add_typer(models, name="models")


@models.command("show", hidden=True)
def show_models(
    name: Annotated[str | None, typer.Argument(help="A public model, or a model file, to show in full.")] = None,
    licence: Annotated[str, typer.Option(help="commercial: only weights that a company may use.")] = "",
    elements: Annotated[str, typer.Option(help="Only models that know all of these, e.g. Mg,O.")] = "",
    charge: Annotated[bool, typer.Option("--charge", help="Only models that see the total charge.")] = False,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Which models can be loaded, with state, licence, elements, theory and conditions; one in full when named."""
    opt.refuse_report(report)
    if licence not in ("", "commercial"):
        raise OptionError("E-OPTION-UNKNOWN", f"licence '{licence}' is no filter", fix="use --licence commercial")
    if name is None:
        wanted = [symbol.strip() for symbol in elements.split(",") if symbol.strip()]
        cards = zoo.chosen(commercial=bool(licence), elements=wanted, charge=charge)
        rows = [{**card.as_dict(), "state": zoo.state(card).word} for card in cards]
    elif Path(name).suffix == ".safetensors":
        rows = [checkpoint.inspect(name)]
    else:
        rows = [api.model_facts(name)]
    if report is not None:
        opt.leave(pages.described(rows), report)
    if as_json:
        show(rows)
    elif name is None:
        _print_models(rows)
        if not rows:
            errors.print("no model meets all of this", markup=False)
    else:
        for key, value in rows[0].items():
            output.print(f"{key:<14} {_brief(value, 2000)}", markup=False, soft_wrap=True)
    return 0


def _print_models(rows: list[dict[str, Any]]) -> None:
    table = Table(title="Public models (name one for all about it)", title_justify="left")
    for column in ("model", "state", "licence", "forces", "elements", "theory", "charge"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            f"{row['name']}-{row['version']}",
            row["state"],
            row["licence"],
            "conservative" if row["conservative"] else "direct",
            str(len(row["elements"].split())) if row["elements"] else "not stated",
            row["theory"],
            row["conditions"]["charge"],
        )
    output.print(table)


@models.command("convert")
def convert_model(
    family: Annotated[str, typer.Argument(help="What made the file: mace (a .model file of mace-torch).")],
    file: Annotated[Path, typer.Argument(help="The file to convert.")],
    target: Annotated[Path, typer.Option("--output", "-o", help="Model file to write, ending in .safetensors.")],
    python: Annotated[str | None, typer.Option(help="Interpreter that has the package; this one by default.")] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="The file may run code of its own while it is read.")
    ] = False,
    precision: Annotated[str | None, typer.Option(help="float32 or float64; that of its weights by default.")] = None,
    radial_knots: Annotated[
        int | None, typer.Option(help="Intervals of the tables its kernels read; 0: none, exact and slow.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that reading the file may take.")] = 600.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output where it exists.")] = False,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Make a model file of a checkpoint of another package, the same function in our own network.

    `groundstate models convert mace medium.model --output medium.safetensors --python ~/mace/bin/python --trust-pickle`
    """
    opt.refuse_report(report)
    loaded = api.convert(
        family,
        file,
        target,
        python=python,
        trust_pickle=trust_pickle,
        precision=precision,
        radial_knots=radial_knots,
        timeout=timeout,
        overwrite=overwrite,
    )
    if report is not None:
        notes = {key: str(value) for key, value in checkpoint.inspect(target)["notes"].get("imported", {}).items()}
        facts = provenance(loaded.potential, files=[file, target], settings=notes)
        opt.leave(pages.converted(file.name, target.name, loaded.id, facts), report)
    return _written(target, loaded.id, as_json=as_json)


@models.command("merge")
def merge_model(
    model: Annotated[str, typer.Argument(help="A model file with linear experts.")],
    structure: Annotated[Path, typer.Argument(help="Structures that agree in composition, charge and spin.")],
    target: Annotated[Path, typer.Option("--output", "-o", help="Model file to write, ending in .safetensors.")],
    charge: Annotated[float | None, typer.Option(help="Of each structure, e; what the file states by default.")] = None,
    multiplicity: Annotated[int | None, typer.Option(help="Of each structure, 2S+1; likewise.")] = None,
    theory: Annotated[str | None, typer.Option(help="Level of theory, by name or number; likewise.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output where it exists.")] = False,
    as_json: opt.Json = False,
) -> int:
    """A plain model for one composition, of a model with linear experts: the same numbers at the cost of one expert.

    `groundstate models merge trained.safetensors MgO.cif --output MgO.safetensors`
    """
    merged = api.merge_experts(
        model, structure, target, charge=charge, multiplicity=multiplicity, theory=theory, overwrite=overwrite
    )
    merged_for = merged.potential.describe().get("merged")
    return _written(target, merged.id, as_json=as_json, merged=merged_for)


@models.command("committee")
def join_models(
    members: Annotated[list[str], typer.Argument(help="Models by name or file: alike but for seed or data.")],
    target: Annotated[Path, typer.Option("--output", "-o", help="Model file to write, ending in .safetensors.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output where it exists.")] = False,
    as_json: opt.Json = False,
) -> int:
    """One model of several that learned the same: their mean errs less than each, and costs what all cost.

    `groundstate models committee a/model.safetensors b/model.safetensors --output ab.safetensors`
    """
    joined = api.committee(members, target, overwrite=overwrite)
    return _written(target, joined.id, as_json=as_json, members=checkpoint.inspect(target)["notes"]["members"])


def _written(target: Path, name: str, *, as_json: bool, **more: object) -> int:
    """What model file there is now."""
    if as_json:
        show({"model": str(target), "id": name, **more})
    else:
        output.print(f"{target}: {name}", markup=False, soft_wrap=True)
    return 0


@app.command()
def laws(
    model: Annotated[str, typer.Argument(help="A public model by name, or a model file by path.")],
    only: Annotated[str, typer.Option(help="Laws to try, comma separated; all by default.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the specimens.")] = 0,
    report: opt.Report = None,
    as_json: opt.Json = False,
) -> int:
    """Examine a model by the laws of physics: symmetry, derivatives, smoothness, additivity, conservation.

    `groundstate laws chgnet` takes a few minutes; exit code 1 when a law fails.
    """
    opt.refuse_report(report)
    loaded = api.load(model)
    results = api.laws(
        loaded,
        laws=[name.strip() for name in only.split(",")] if only else None,
        seed=seed,
        progress=lambda result: errors.print(f"{result.law:<18} {_VERDICT[result.passed]}", markup=False),
    )
    rows = as_table(results)
    if report is not None:
        facts = provenance(loaded.potential, settings={"seed of the specimens": seed})
        opt.leave(pages.examined(loaded.id, results, rows, facts), report)
    if as_json:
        show({"model": loaded.id, "laws": rows})
    else:
        table = Table(title=f"Laws of physics: {loaded.id}", title_justify="left")
        for column in rows[0]:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(_brief(value, 300) for value in row.values()))
        output.print(table)
    return 1 if any(result.passed is False for result in results) else 0


_VERDICT = {True: "pass", False: "FAIL", None: "does not apply"}


@app.command()
def doctor(report: opt.Report = None, as_json: opt.Json = False) -> int:
    """What this machine is, what is installed, what is missing, and the exact line that mends it.

    `groundstate doctor`
    """
    opt.refuse_report(report)
    facts: dict[str, Any] = {
        "groundstate": version("groundstate"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none: computing on the CPU",
    }
    packages: list[dict[str, str | None]] = []
    for package, install in _PACKAGES.items():
        try:
            packages.append({"package": package, "version": version(package), "install": ""})
        except PackageNotFoundError:
            packages.append({"package": package, "version": None, "install": install})
    kernels = report_kernels(standard_plans())
    engines = quantum.report()
    if report is not None:
        rows = [{**row, "package": f"{row['engine']}, {row['for']}"} for row in engines]
        opt.leave(pages.machine(facts, kernels, [*packages, *rows]), report)
    if as_json:
        show({"machine": facts, "kernels": kernels, "packages": packages, "engines": engines})
        return 0
    for key, value in facts.items():
        output.print(f"{key:<14} {value}", markup=False)
    for kernel in kernels:
        fix = f": {kernel['fix']}" if kernel["fix"] else ""
        output.print(f"{kernel['name']:<18} {kernel['state']}{fix}", markup=False, soft_wrap=True)
    for row in packages:
        state = row["version"] or f"not installed: {row['install']}"
        output.print(f"{row['package']:<18} {state}", markup=False)
    for engine in engines:
        state = engine["version"] or f"not installed: {engine['install']}"
        output.print(f"{engine['engine']:<18} {state} ({engine['for']})", markup=False, soft_wrap=True)
    return 0


def _brief(value: Any, width: int = 60) -> str:
    if value is None:
        return "–"
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= width else text[: width - 1] + "…"
