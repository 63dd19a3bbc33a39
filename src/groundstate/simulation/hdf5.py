"""A run folder as one HDF5 file, and back: every frame of every structure, with units and provenance.

    /                 attributes: format, run (run.json: kind, potential, configuration, version)
    /<index>          one group per structure; attributes: what is known of it as a whole (status, code, reason, …)
      numbers [atom] · pbc [3] · positions [frame, atom, 3] Å · cell [frame, 3, 3] Å
      forces, velocities, … [frame, atom, 3] · energy, step, time_fs, … [frame]
      samples/<name> [sample]   the table recorded along a run of molecular dynamics

Every dataset says its unit in the attribute `unit`. A relaxed structure has one frame, one that was refused has none.
Checked: tests/simulation/test_hdf5.py
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms import DataError, GroundstateError, RunError
from groundstate.data.convert import missing_extra
from groundstate.data.extxyz import read_extxyz
from groundstate.data.files import UNFINISHED, owned_folder
from groundstate.data.numbers_in_text import numbers
from groundstate.data.writers import refuse_existing

FORMAT = "groundstate run 1"
UNITS = {
    "positions": "Å",
    "cell": "Å",
    "velocities": "Å/fs",
    "forces": "eV/Å",
    "max_force": "eV/Å",
    "max_cell_force": "eV/Å",
    "stress": "eV/Å³",
    "energy": "eV",
    "enthalpy": "eV",
    "potential": "eV",
    "kinetic": "eV",
    "total": "eV",
    "conserved": "eV",
    "volume": "Å³",
}
"""Of the names that do not end with their unit."""
ENDINGS = {"_fs": "fs", "_ps": "ps", "_K": "K", "_GPa": "GPa", "_A3": "Å³", "_eV": "eV"}


@dataclass(frozen=True, eq=False)
class Series:
    """The frames of one structure. `numbers`, `pbc` are `None` where nothing was computed; `values` has a row per
    frame, `samples` a row per sample, `facts` are of the structure as a whole."""

    index: int
    facts: Mapping[str, Any]
    numbers: NDArray[np.int64] | None = None
    pbc: NDArray[np.bool_] | None = None
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    samples: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Archive:
    """What an exported file holds; `run` is the run's record."""

    run: Mapping[str, Any]
    series: tuple[Series, ...]


def export(folder: Path | str, target: Path | str, *, overwrite: bool = False) -> int:
    """Write the run of a folder into one file, whole or not at all; returns the number of structures.

    Raises RunError E-RUN-MISSING where there is no run, E-OUTPUT-EXISTS unless `overwrite`, E-RUN-LOCKED while the run
    goes on, E-EXTRA-MISSING without h5py.
    """
    folder, target = Path(folder), Path(target)
    h5py = _h5py()
    refuse_existing(target, overwrite=overwrite)
    if not (folder / "run.json").exists():
        raise RunError("E-RUN-MISSING", "the folder holds no run", fix="give the --output of a run", file=str(folder))
    temporary = target.with_name(f".{target.name}.{os.getpid()}{UNFINISHED}")
    count = 0
    with owned_folder(folder):
        try:
            with h5py.File(temporary, "w") as file:
                run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
                file.attrs["format"], file.attrs["run"] = FORMAT, json.dumps(run)
                for series in (_relaxed if run["kind"] == "relax" else _moved)(folder):
                    _put(file.create_group(str(series.index)), series)
                    count += 1
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    return count


def load(path: Path | str) -> Archive:
    """What `export` wrote. Raises DataError E-FILE-SYNTAX for another file."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise DataError("E-FILE-SYNTAX", "this HDF5 file holds no exported run", file=str(path))
            return Archive(json.loads(file.attrs["run"]), tuple(_got(file[name]) for name in sorted(file, key=int)))
    except OSError as error:
        raise DataError("E-FILE-SYNTAX", f"this is not a readable HDF5 file ({error})", file=str(path)) from error


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise missing_extra("hdf5", "an HDF5 file") from None
    return h5py


def _relaxed(folder: Path) -> Iterator[Series]:
    """Results in order, each with the frame its line names."""
    results = folder / "results.jsonl"
    written = results.read_bytes().splitlines(keepends=True) if results.exists() else []
    lines = [json.loads(line) for line in written if line.endswith(b"\n")]
    named: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for k, line in enumerate(lines):
        if place := line.get("frame"):
            named[place["file"]].append((place["start"], k))
    frames: dict[int, Series] = {}
    for name, places in named.items():
        # Lines are committed after their frames, so a frame too many at the end belongs to no line.
        for (_, k), frame in zip(sorted(places), read_extxyz(folder / name), strict=False):
            frames[k] = _series(k, [_sound(frame, folder / name)], {})
    for k, line in enumerate(lines):
        facts = {key: value for key, value in line.items() if key not in ("record", "frame", "stress", "notes")}
        facts["notes"] = "\n".join(line["notes"])
        found = frames.get(k, Series(k, {}))
        stress = {} if line["stress"] is None else {"stress": np.array([line["stress"]])}
        yield Series(k, facts, found.numbers, found.pbc, {**found.values, **stress})


def _moved(folder: Path) -> Iterator[Series]:
    """One series per structure that has a trajectory or samples."""
    indices = {int(path.stem.rsplit("_", 1)[1]) for kind in _GROWING for path in folder.glob(kind)}
    for index in sorted(indices):
        trajectory, table = folder / f"trajectory_{index:05d}.extxyz", folder / f"samples_{index:05d}.jsonl"
        frames = [_sound(frame, trajectory) for frame in read_extxyz(trajectory)] if trajectory.exists() else []
        stopped = folder / f"stopped_{index:05d}.extxyz"
        facts = {} if not stopped.exists() else dict(_sound(next(iter(read_extxyz(stopped))), stopped).info)
        rows = [json.loads(row) for row in table.read_text(encoding="utf-8").splitlines()] if table.exists() else []
        samples = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in (rows[0] if rows else ())}
        found = _series(index, frames, samples) if frames else Series(index, {}, samples=samples)
        known = {name: facts[name] for name in ("cause", "reason") if name in facts}
        yield Series(index, known, found.numbers, found.pbc, found.values, found.samples)


_GROWING = ("samples_*.jsonl", "trajectory_*.extxyz")


def _sound(frame: Any, path: Path) -> Any:
    if isinstance(frame, GroundstateError):
        raise frame.at(file=str(path))
    return frame


def _series(index: int, frames: list[Any], samples: Mapping[str, NDArray[np.float64]]) -> Series:
    """Frames of one structure stacked; a fact or column that not every frame has is NaN where it is missing."""
    first = frames[0].system
    values: dict[str, NDArray[np.float64]] = {
        "positions": np.stack([frame.system.positions.numpy() for frame in frames]),
        "cell": np.stack([frame.system.cell[0].numpy() for frame in frames]),
    }
    for name in dict.fromkeys(name for frame in frames for name in frame.arrays):
        empty = np.full((first.n_atoms, 3), np.nan)
        values[name] = np.stack([np.asarray(frame.arrays.get(name, empty), dtype=np.float64) for frame in frames])
    for name in dict.fromkeys(name for frame in frames for name in frame.info):
        told = [numbers(frame.info.get(name, "nan")) for frame in frames]
        found = [value for value in told if value is not None and value.ndim == 0]
        if len(found) == len(frames):  # not text, and one number each
            values[name] = np.stack(found)
    return Series(index, {}, first.numbers.numpy(), first.pbc[0].numpy(), values, samples)


def _put(group: Any, series: Series) -> None:
    for name, value in series.facts.items():
        if value is not None:
            group.attrs[name] = value
    if series.numbers is not None:
        group["numbers"], group["pbc"] = series.numbers, series.pbc
    for name, values in series.values.items():
        _dataset(group, name, values)
    for name, values in series.samples.items():
        _dataset(group.require_group("samples"), name, values)


def _dataset(group: Any, name: str, values: NDArray[np.float64]) -> None:
    stored = group.create_dataset(name, data=values, compression="gzip" if values.size > 1000 else None)
    ending = next((unit for end, unit in ENDINGS.items() if name.endswith(end)), "")
    stored.attrs["unit"] = UNITS.get(name, ending)


def _got(group: Any) -> Series:
    facts = {name: value.item() if isinstance(value, np.generic) else value for name, value in group.attrs.items()}
    numbers, pbc = (group[name][()] if name in group else None for name in ("numbers", "pbc"))
    values = {name: group[name][()] for name in group if name not in ("numbers", "pbc", "samples")}
    samples = {name: stored[()] for name, stored in group.get("samples", {}).items()}
    return Series(int(group.name.rsplit("/", 1)[1]), facts, numbers, pbc, values, samples)
