"""Systems of DeePMD-kit in NumPy form: a folder with type.raw, type_map.raw, set.*/{coord,box,energy,force,virial}.npy.

Units are Å, eV, eV/Å and eV; the virial is −∂E/∂ε, row by row. `nopbc` marks a system without periods. In the mixed
form `real_atom_types.npy` names each frame's atoms, −1 for places that are empty. Source: DeePMD-kit's documentation.
Checked: tests/data/test_deepmd_files.py
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundstate.atoms import DataError, GroundstateError, System
from groundstate.atoms.elements import from_label
from groundstate.data.foreign_files import unreadable
from groundstate.data.frame import Frame

MARK = "type.raw"


def read_deepmd(folder: Path) -> Iterator[Frame | GroundstateError]:
    """Every frame of every set, in the order of their names."""
    try:
        types = np.loadtxt(folder / MARK, dtype=np.int64, ndmin=1)
        numbers_of = _elements(folder, types)
    except GroundstateError as error:
        yield error
        return
    except ValueError as error:
        yield unreadable(error, "a list of atom types")
        return
    sets = sorted(folder.glob("set.*"))
    if not sets:
        yield DataError("E-FILE-EMPTY", "the folder has no set.*", fix="convert raw files to NumPy form first")
    for part in sets:
        yield from _set(part, types, numbers_of, periodic=not (folder / "nopbc").exists())


def _elements(folder: Path, types: NDArray[np.int64]) -> NDArray[np.int64]:
    names = folder / "type_map.raw"
    if not names.is_file():
        raise DataError(
            "E-DEEPMD-TYPES",
            f"the system has {len(set(types.tolist()))} types of atoms and no type_map.raw",
            why="which elements they are stands nowhere",
            fix="write their symbols into type_map.raw, one per line, in the order of the model's type_map",
        )
    return np.array([from_label(label)[0].number for label in names.read_text(encoding="utf-8").split()])


def _set(
    part: Path, types: NDArray[np.int64], numbers_of: NDArray[np.int64], *, periodic: bool
) -> Iterator[Frame | GroundstateError]:
    try:
        # Mapped, not read: a set may be larger than memory. A pickled array is never loaded.
        arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(part.glob("*.npy"))}
    except (ValueError, OSError) as error:
        yield unreadable(error, f"NumPy arrays of {part.name}")
        return
    needed = {"coord", "box"} if periodic else {"coord"}
    if not needed <= arrays.keys():
        missing = ", ".join(f"{name}.npy" for name in sorted(needed - arrays.keys()))
        yield DataError("E-FILE-TRUNCATED", f"{part.name} has no {missing}", fix="copy the system again")
        return
    counts = {name: len(array) for name, array in arrays.items()}
    frames = counts["coord"]
    own = ("coord", "box", "energy", "force", "virial", "real_atom_types")
    if different := {name: n for name, n in counts.items() if name in own and n != frames}:
        listed = ", ".join(f"{name} {n}" for name, n in different.items())
        yield DataError(
            "E-FILE-TRUNCATED",
            f"{part.name} has {frames} frames in coord.npy and other numbers in: {listed}",
            why="labels would belong to other structures",
            fix="copy or convert the system again",
        )
        return
    left = sorted({*arrays} - {*own})
    notes = (f"not read: {', '.join(f'{name}.npy' for name in left)}",) if left else ()
    for i in range(frames):
        yield _frame({name: np.array(arrays[name][i]) for name in own if name in arrays}, types, numbers_of, notes)


def _frame(
    row: dict[str, np.ndarray], types: NDArray[np.int64], numbers_of: NDArray[np.int64], notes: tuple[str, ...]
) -> Frame | GroundstateError:
    own = row.get("real_atom_types", types).astype(np.int64).reshape(-1)
    there = own >= 0
    if own.max(initial=-1) >= len(numbers_of):
        return DataError(
            "E-DEEPMD-TYPES",
            f"an atom has type {int(own.max())} and type_map.raw names {len(numbers_of)} elements",
            fix="complete type_map.raw",
        )
    box = row["box"].reshape(3, 3) if "box" in row else None
    coordinates = row["coord"].astype(np.float64).reshape(-1, 3)
    if len(coordinates) != len(own):
        return DataError(
            "E-LABEL-SHAPE",
            f"coord.npy has {len(coordinates)} atoms where types name {len(own)}",
            fix="convert it again",
        )
    system = System.single(coordinates[there], numbers_of[own[there]], cell=box, pbc=box is not None)
    info = {"energy": float(row["energy"].reshape(()))} if "energy" in row else {}
    if "virial" in row and box is not None:
        info["virial"] = row["virial"].astype(np.float64).reshape(9)  # type: ignore[assignment]
    forces = {"force": row["force"].astype(np.float64).reshape(-1, 3)[there]} if "force" in row else {}
    return Frame(system, info, forces, notes=notes, defined={"energy": "energy", "forces": "force", "virial": "virial"})
