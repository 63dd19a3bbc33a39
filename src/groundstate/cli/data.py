"""Verbs on sets of labelled structures: `groundstate data import`, `check`, `split`, `stats`, `merge`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from groundstate.atoms import LevelOfTheory, OptionError
from groundstate.atoms.elements import symbols
from groundstate.cli import options as opt
from groundstate.cli.app import Verbs, app, errors, output, show
from groundstate.data import (
    Progress,
    Store,
    forecast,
    import_files,
    merge_stores,
    open_store,
    separate,
    sources_in,
    split_store,
    theory,
)
from groundstate.training import mean_neighbours

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
            help="extxyz, ASE db, vasprun.xml, MACE HDF5, aselmdb, DeePMD, MPtrj, …; a folder stands for its files."
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
            keys=keys_of(key or []),
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


@data.command()
def stats(
    store_folder: StoreFolder,
    neighbours: Annotated[float, typer.Option(help="Cutoff in Å of the mean number of neighbours.")] = 5.0,
    salvage: opt.Salvage = False,
    as_json: opt.Json = False,
) -> int:
    """What a store holds: labels and their ranges, sizes, elements, conditions, levels of theory, origins, neighbours.

    `groundstate data stats mptrj --neighbours 6`
    """
    store = open_store(store_folder, salvage=salvage)
    found = store.statistics
    mean = mean_neighbours(store, neighbours)
    if as_json:
        extra = {"notes": list(store.report().notes), "neighbours": {"cutoff_A": neighbours, "mean": mean}}
        show({"store": str(store.folder), **extra, **found.as_dict()})
        return 0
    errors.print(store.report().as_text(), markup=False, soft_wrap=True)
    rows: list[tuple[str, str, int, int | None]] = [
        ("element", symbols([z])[0], frames, atoms) for z, (frames, atoms) in found.elements.items()
    ]
    rows += [("periodic along a b c", name, frames, None) for name, frames in found.pbc.items()]
    rows += [("condition", name, frames, None) for name, frames in found.conditions.items()]
    rows += [("level of theory", _level(level), frames, None) for level, frames in found.levels.values()]
    if found.unstated:
        rows.append(("level of theory", "not stated", found.unstated, None))
    rows += [("file", name, frames, None) for name, frames in found.files.items()]
    table = Table(title=str(store.folder), title_justify="left")
    for column in ("of", "", "frames", "atoms"):
        table.add_column(column, justify="right" if column in ("frames", "atoms") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(opt.cell(value) for value in row))
    output.print(table)
    output.print(
        f"{found.frames} frames, {found.atoms} atoms, {min(found.sizes)} to {max(found.sizes)} per frame;"
        f" {mean:.1f} neighbours within {neighbours:g} Å"
    )
    return 0


def _level(level: LevelOfTheory) -> str:
    u = " ".join(f"{symbol} {value:g}" for symbol, value in level.hubbard_u)
    return level.id + (f" (U/eV: {u})" if u else "")


@data.command()
def split(
    store_folder: StoreFolder,
    output_folder: Annotated[Path, typer.Option("--output", "-o", help="Folder in which the parts are made.")],
    fractions: Annotated[str, typer.Option(help="Shares of the frames, adding up to 1.")] = "0.8,0.1,0.1",
    names: Annotated[str, typer.Option(help="Names of the parts.")] = "train,valid,test",
    keep_together: Annotated[
        str, typer.Option(help="structure, composition, trajectory, or a tag of the frames (a material's id).")
    ] = "structure",
    block: Annotated[int | None, typer.Option(help="Cut trajectories into blocks of so many frames.")] = None,
    by_theory: Annotated[bool, typer.Option("--by-theory", help="One store for each level of theory instead.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same parts.")] = 0,
    overwrite: Overwrite = False,
    as_json: opt.Json = False,
) -> int:
    """Divide a store into stores that share no structure.

    `groundstate data split mptrj --output parts --keep-together mp_id`
    """
    store = open_store(store_folder)
    with _bar("split") as progress:
        told = partial(_copied, progress, store)
        if by_theory:
            parts = separate(store, output_folder, overwrite=overwrite, told=told)
        else:
            parts = split_store(
                store,
                output_folder,
                _numbers(fractions),
                [name.strip() for name in names.split(",")],
                seed,
                keep_together=keep_together,
                block=block,
                overwrite=overwrite,
                told=told,
            )
    if as_json:
        show({name: {"store": str(part.folder), "frames": len(part)} for name, part in parts.items()})
    for name, part in {} if as_json else parts.items():
        output.print(f"{name}: {len(part)} frames in {part.folder}", markup=False)
    return 0


@data.command()
def merge(
    store_folders: Annotated[list[Path], typer.Argument(help="Stores to join.")],
    output_folder: NewStore,
    overwrite: Overwrite = False,
    as_json: opt.Json = False,
) -> int:
    """Join stores. Every frame keeps its level of theory and its origin; nothing is converted between levels.

    `groundstate data merge mptrj matpes --output both`
    """
    stores = [open_store(folder) for folder in store_folders]
    with _bar("merge") as progress:
        store = merge_stores(stores, output_folder, overwrite=overwrite, told=partial(_copied, progress, stores[0]))
    _told(store, as_json)
    return 0


def _copied(progress: Callable[[Progress], None], store: Store, done: int, total: int) -> None:
    progress(Progress(store.folder.name, done, int(done == total), 1))


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError("E-OPTION", f"'{text}' is not a list of numbers", fix="write it as 0.8,0.1,0.1") from None


def keys_of(pairs: Sequence[str]) -> dict[str, str | None]:
    """quantity=key of the command line, as the readers take it; an empty key leaves a quantity out."""
    keys: dict[str, str | None] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise OptionError("E-OPTION", f"--key {pair} names no key", fix="write it as energy=DFT_energy")
        keys[name] = value or None
    return keys


@contextmanager
def _bar(description: str) -> Iterator[Callable[[Progress], None]]:
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
