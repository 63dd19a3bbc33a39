"""Where the atoms of one structure were at equally spaced times."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import DataError, System, UndefinedPropertyError
from groundstate.atoms.elements import from_label


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Frames of one structure. positions Å, unwrapped · cells Å · velocities Å/fs, `None` where not known · time_fs."""

    positions: Float[Tensor, "frame atom 3"]
    cells: Float[Tensor, "frame 3 3"]
    velocities: Float[Tensor, "frame atom 3"] | None
    time_fs: Float[Tensor, " frame"]
    numbers: Int[Tensor, " atom"]
    pbc: Bool[Tensor, " 3"]

    @property
    def n_frames(self) -> int:
        """Frames."""
        return len(self.time_fs)

    @property
    def interval_fs(self) -> float:
        """Time between frames; refused where it is not the same everywhere."""
        if self.n_frames < 2:
            raise DataError("E-TRAJECTORY-SHORT", "a time interval needs two frames", fix="give a longer trajectory")
        gaps = self.time_fs.diff()
        gap = float(gaps.mean())
        if gap <= 0 or float((gaps - gap).abs().max()) > 1e-6 * gap:
            what = f"times between frames lie between {float(gaps.min()):g} and {float(gaps.max()):g} fs"
            why, fix = "correlations in time need equal intervals", "cut the trajectory where the interval changes"
            raise DataError("E-TRAJECTORY-TIMES", what, why=why, fix=fix)
        return gap

    @property
    def masses(self) -> Float[Tensor, " atom"]:
        """amu"""
        return System.single(self.positions[0], self.numbers).masses

    @property
    def volumes(self) -> Float[Tensor, " frame"]:
        """Å³; refused where there is none."""
        if not bool(self.pbc.all()):
            what, why = "a density was asked of a structure that is not a crystal or liquid", "it fills no volume"
            raise UndefinedPropertyError("E-PROPERTY-UNDEFINED", what, why=why, fix="give a fully periodic trajectory")
        return torch.linalg.det(self.cells).abs()

    def part(self, first: int, last: int) -> "Trajectory":
        """Frames first … last − 1."""
        velocities = None if self.velocities is None else self.velocities[first:last]
        return replace(
            self,
            positions=self.positions[first:last],
            cells=self.cells[first:last],
            velocities=velocities,
            time_fs=self.time_fs[first:last],
        )

    def system(self, frame: int) -> System:
        """One frame as a structure."""
        return System.single(self.positions[frame], self.numbers, cell=self.cells[frame], pbc=self.pbc)


def read_trajectory(
    path: Path | str, *, structure: int = 0, interval_fs: float | None = None, unwrap: bool = False
) -> Trajectory:
    """The trajectory of a structure of a molecular-dynamics folder, or of an extended XYZ file.

    Times come from `time_fs` or `time` (fs) of each frame, or from `interval_fs` where a file states none; velocities
    from a column `velocities` (Å/fs). A file whose atoms jump by half a period between frames is refused, as its atoms
    were folded into the cell; `unwrap` follows them by their shortest way.
    Checked: tests/simulation/test_trajectory.py
    """
    source = Path(path)
    if source.is_dir():
        source = source / f"trajectory_{structure:05d}.extxyz"
    if not source.is_file():
        raise DataError("E-FILE-MISSING", "there is no trajectory", file=str(source), fix="give a run folder or extxyz")
    frames = list(_frames(source))
    if not frames:
        raise DataError("E-TRAJECTORY-SHORT", "the file holds no frame", file=str(source), fix="run for longer")
    first = frames[0]
    for k, frame in enumerate(frames):
        same = frame.labels == first.labels and frame.pbc == first.pbc
        if not same or (frame.velocities is None) != (first.velocities is None):
            what, why = (
                "a frame holds other atoms, periods or columns than the first",
                "it is not one structure in time",
            )
            raise DataError("E-TRAJECTORY-ATOMS", what, why=why, fix="split the file", file=str(source), frame=k)
    velocities = [f.velocities for f in frames if f.velocities is not None]
    trajectory = Trajectory(
        positions=torch.stack([f.positions for f in frames]),
        cells=torch.stack([f.cell for f in frames]),
        velocities=torch.stack(velocities) if velocities else None,
        time_fs=_times(frames, interval_fs, source),
        numbers=torch.tensor([from_label(label)[0].number for label in first.labels]),
        pbc=torch.tensor(first.pbc),
    )
    return _unfolded(trajectory, unwrap, source)


@dataclass(frozen=True, eq=False)
class _Frame:
    labels: tuple[str, ...]
    positions: Tensor
    velocities: Tensor | None
    cell: Tensor
    pbc: tuple[bool, ...]
    time: float | None


def _frames(path: Path) -> Iterator[_Frame]:
    with path.open(encoding="utf-8") as file:
        for k, line in enumerate(iter(file.readline, "")):
            try:
                count = int(line)
                comment, rows = file.readline(), [file.readline().split() for _ in range(count)]
                yield _frame(dict(_facts(comment)), rows)
            except (ValueError, IndexError, KeyError) as error:
                what = f"frame {k} is not extended XYZ ({error})"
                raise DataError("E-TRAJECTORY-FORMAT", what, file=str(path), frame=k, fix="is it cut short?") from error


def _facts(comment: str) -> Iterator[tuple[str, str]]:
    for word in shlex.split(comment):
        name, _, value = word.partition("=")
        yield name, value


def _frame(facts: dict[str, str], rows: list[list[str]]) -> _Frame:
    columns, at = {}, 0
    described = facts.get("Properties", "species:S:1:pos:R:3").split(":")
    for name, width in zip(described[0::3], map(int, described[2::3]), strict=True):
        columns[name] = slice(at, at + width)
        at += width

    def vectors(name: str) -> Tensor:
        table = [[float(x) for x in row[columns[name]]] for row in rows]
        return torch.tensor(table, dtype=torch.float64).reshape(len(rows), 3)

    lattice = [float(x) for x in facts["Lattice"].split()] if "Lattice" in facts else [0.0] * 9
    flags = facts["pbc"].split() if "pbc" in facts else ["FT"["Lattice" in facts]] * 3
    time = facts.get("time_fs", facts.get("time"))
    return _Frame(
        labels=tuple(row[columns["species"].start] for row in rows),
        positions=vectors("pos"),
        velocities=vectors("velocities") if "velocities" in columns else None,
        cell=torch.tensor(lattice, dtype=torch.float64).reshape(3, 3),
        pbc=tuple(bool(re.match("[Tt1]", flag)) for flag in flags),
        time=None if time is None else float(time),
    )


def _times(frames: list[_Frame], interval_fs: float | None, path: Path) -> Tensor:
    known = [f.time for f in frames if f.time is not None]
    if len(known) == len(frames):
        return torch.tensor(known, dtype=torch.float64)
    if interval_fs is None or known:
        what, why = "frames do not state their time", "speeds and frequencies would be made up"
        raise DataError("E-TRAJECTORY-TIMES", what, why=why, fix="give interval_fs", file=str(path))
    return interval_fs * torch.arange(len(frames), dtype=torch.float64)


def _unfolded(trajectory: Trajectory, unwrap: bool, path: Path) -> Trajectory:
    if not bool(trajectory.pbc.any()) or trajectory.n_frames < 2:
        return trajectory
    inverse = torch.linalg.pinv(trajectory.cells * trajectory.pbc[None, :, None])
    fractional = trajectory.positions @ inverse
    jumps = fractional.diff(dim=0).round() * trajectory.pbc
    if not bool(jumps.any()):
        return trajectory
    if not unwrap:
        frame = int(jumps.any(dim=2).any(dim=1).nonzero()[0, 0]) + 1
        what, why = "atoms jump by half a period or more", "folded positions have no mean square displacement"
        raise DataError(
            "E-TRAJECTORY-WRAPPED",
            what,
            why=why,
            fix="say unwrap=True, or store frames more often",
            file=str(path),
            frame=frame,
        )
    back = torch.cat([torch.zeros_like(jumps[:1]), jumps.cumsum(dim=0)])
    return replace(trajectory, positions=trajectory.positions - back @ trajectory.cells)
