"""Verbs on sets of labelled structures: `groundstate data import`, `check`, `split`, `stats`, `merge`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from groundstate.atoms import OptionError
from groundstate.cli import options as opt
from groundstate.cli.app import Verbs, app, errors, output, show
from groundstate.data import Progress, Store, forecast, import_files, sources_in, theory

data = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    help="""Sets of labelled structures: kept as a store, examined, divided, joined.

    A store is a folder of memory-mapped shards; every verb that takes a file takes it too.

    `groundstate data import *.extxyz --output oxides`, then `groundstate train oxides --output run`
    """,
)
app.add_typer(data, name="data")

StoreFolder = Annotated[Path, typer.Argument(help="A store, made by `groundstate data import`.")]
NewStore = Annotated[Path, typer.Option("--output", "-o", help="Folder of the store; the same command continues it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete the store that is in the output folder first.")]


@data.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="extxyz, ASE db, vasprun.xml, MACE HDF5, aselmdb, DeePMD folders, MPtrj JSON, … or folders."
        ),
    ],
    output_folder: NewStore,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Where a label stands: energy=DFT_energy; stress= leaves it out. Repeatable."),
    ] = None,
    stress_convention: Annotated[str | None, typer.Option(help="ase, kbar-vasp, GPa or virial.")] = None,
    theory_name: Annotated[
        str | None,
        typer.Option("--theory", help="Level of theory: mp (with its Hubbard U), matpes-pbe, spice, … or a JSON file."),
    ] = None,
    require: Annotated[str, typer.Option(help="Labels that every frame must have: 'energy,forces'.")] = "",
    mask: Annotated[
        bool, typer.Option("--mask", help="Accept frames without a label, or with one that is NaN.")
    ] = False,
    salvage: opt.Salvage = False,
    shard_MB: Annotated[float, typer.Option("--shard-MB", help="Size of a shard in MB.")] = 64.0,
    check_disk: Annotated[bool, typer.Option(help="Refuse where the disk may not hold the result.")] = True,
    overwrite: Overwrite = False,
    as_json: opt.Json = False,
) -> int:
    """Read files into a store, once: labels in base units, levels of theory, where every frame came from.

    Prints which label was read from which key. A killed import goes on where it stopped; a file that is in the store
    is not read again.

    `groundstate data import MPtrj.json --theory mp --output mptrj`
    """
    paths = [path for file in files for path in sources_in(file)]
    need = forecast(paths, output_folder, shard_MB)
    errors.print(
        f"Needs about {need.memory / 1e6:.0f} MB of memory and at most {need.disk / 1e9:.2f} GB of disk"
        f" ({need.free / 1e9:.1f} GB free)."
    )
    with _bar("import") as progress:
        store = import_files(
            paths,
            output_folder,
            keys=_keys(key or []),
            stress_convention=stress_convention,
            theory=None if theory_name is None else theory(theory_name),
            require=[name.strip() for name in require.split(",") if name.strip()],
            missing="mask" if mask else "refuse",
            salvage=salvage,
            shard_MB=shard_MB,
            overwrite=overwrite,
            check_disk=check_disk,
            progress=progress,
        )
    _told(store, as_json)
    return 0


def _keys(pairs: Sequence[str]) -> dict[str, str | None]:
    keys: dict[str, str | None] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise OptionError("E-OPTION", f"--key {pair} names no key", fix="write it as energy=DFT_energy")
        keys[name] = value or None
    return keys


@contextmanager
def _bar(description: str) -> Iterator:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[at]}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None, at="")

        def show_progress(now: Progress) -> None:
            bar.update(task, at=f"{now.file}: {now.frames} frames ({now.done} of {now.total} files finished)")

        yield show_progress


def _told(store: Store, as_json: bool) -> None:
    if as_json:
        show({"store": str(store.folder), "notes": list(store.report().notes), **store.statistics.as_dict()})
        return
    errors.print(store.report().as_text(), markup=False, soft_wrap=True)
    shards = store.shards.entries
    output.print(f"{len(store)} frames in {len(shards)} shards: {store.folder}", markup=False)
