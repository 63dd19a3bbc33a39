"""Crystal symmetry by spglib: space group, lengths and axes of the standard cell, the rotations of the point group.

Magnetic moments, given or predicted, never take part: two atoms of one element are alike.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import GroundstateError, RunError, StructureError, System

EXTRA = {"spglib": "phonons", "phonopy": "phonons", "seekpath": "phonons", "phono3py": "conductivity"}


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Space group, and how the crystal lies: rotations of the point group in Cartesian axes, `to_standard` turns the
    crystal into spglib's standard axes (a along x, b in the xy plane), `lengths` a, b, c of the standard cell, Å.
    """

    international: str
    number: int
    rotations: Float[Tensor, "operation 3 3"]
    to_standard: Float[Tensor, "3 3"]
    lengths: tuple[float, float, float]


def symmetry_of(single: System, tolerance: float = 1e-3) -> Symmetry:
    """The symmetry of one crystal, within `tolerance` Å."""
    spglib = optional("spglib", "crystal symmetry")
    cell = single.cell[0].cpu().numpy()
    fractional = single.positions.cpu().numpy() @ np.linalg.inv(cell)
    with library():
        found = spglib.get_symmetry_dataset((cell, fractional, single.numbers.tolist()), symprec=tolerance)
    if found is None:
        raise StructureError(
            "E-SYMMETRY", f"spglib finds no space group within {tolerance:g} Å", fix="give another symmetry_tolerance"
        )
    inverse = np.linalg.inv(cell)
    unique = np.unique(found.rotations, axis=0)
    # Fractional columns x' = W x; with lattice vectors as rows, Cartesian columns turn by cellᵀ W cell⁻ᵀ.
    rotations = np.einsum("ai,oab,jb->oij", cell, unique, inverse)
    lengths = np.linalg.norm(found.std_lattice, axis=1)
    return Symmetry(
        found.international,
        int(found.number),
        torch.from_numpy(rotations),
        torch.from_numpy(np.array(found.std_rotation_matrix)),
        (float(lengths[0]), float(lengths[1]), float(lengths[2])),
    )


def optional(name: str, purpose: str) -> ModuleType:
    """An optional package, or the refusal that names the line which installs it."""
    try:
        with library():
            return import_module(name)
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING",
            f"{purpose} needs the package '{name}', which is not installed",
            fix=f"install it: pip install 'groundstate[{EXTRA[name.split('.')[0]]}]'",
        ) from None


@contextmanager
def library() -> Iterator[None]:
    """Calls into spglib, seekpath, phonopy and phono3py: their hints to their own callers are not for our users, and
    what they raise about one structure becomes the refusal of that structure.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (GroundstateError, ImportError):
            raise
        except Exception as error:  # each of these packages has a tree of exceptions of its own, and plain ones
            raise RunError(
                "E-LIBRARY",
                f"the package that does the symmetry or the lattice dynamics failed: {type(error).__name__}: {error}",
                fix="look at the structure; another symmetry_tolerance often helps",
            ) from error
