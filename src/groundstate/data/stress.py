"""Stress as programs write it → eV/Å³, positive in tension, [3, 3].

Only ASE's own sign, unit and shape are taken without being told; every other source must name its convention: "ase"
eV/Å³, tension positive, six numbers xx yy zz yz xz xy · "kbar-vasp" kbar, compression positive, xx yy zz xy yz zx ·
"GPa" tension positive, ASE's order · "virial" −|V|·stress in eV, nine numbers. Checked:
tests/data/test_stress_conventions.py
"""

from collections.abc import Callable, Mapping

import numpy as np

from groundstate.atoms import DataError, OptionError, nearest
from groundstate.atoms.units import GIGAPASCAL, KILOBAR

ASE_ORDER = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_VASP_ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
_ASYMMETRY = 1e-2
"""Of the largest component; rounding and an unconverged calculation stay below, exchanged components do not."""

CONVENTIONS: Mapping[str, tuple[Callable[[float], float], tuple[tuple[int, int], ...] | None]] = {
    # name: (factor to eV/Å³ given the volume, order of six numbers or None where there is no agreed one)
    "ase": (lambda volume: 1.0, ASE_ORDER),
    "kbar-vasp": (lambda volume: -KILOBAR, _VASP_ORDER),
    "GPa": (lambda volume: GIGAPASCAL, ASE_ORDER),
    "virial": (lambda volume: -1.0 / volume, None),
}


def check_convention(name: str | None) -> None:
    """Refuse a convention that does not exist."""
    if name is not None and name not in CONVENTIONS:
        raise OptionError(
            "E-STRESS-CONVENTION", f"there is no stress convention '{name}'", fix=nearest(name, CONVENTIONS)
        )


def to_stress(values: np.ndarray, convention: str | None, volume: float, key: str) -> np.ndarray:
    """[3, 3] in eV/Å³ from six or nine numbers under a named convention.

    Without one the numbers are ASE's, and six of them are refused: their order is not known.
    """
    factor, order = CONVENTIONS[convention] if convention is not None else (CONVENTIONS["ase"][0], None)
    if convention == "virial" and volume == 0:
        raise DataError(
            "E-STRESS-VIRIAL",
            f"'{key}' is a virial of a structure without volume",
            fix="leave it out, or give the cell",
        )
    return factor(volume) * symmetric_matrix(values, order, key)


def symmetric_matrix(
    values: np.ndarray, order: tuple[tuple[int, int], ...] | None, key: str, leading: tuple[int, ...] = ()
) -> np.ndarray:
    """[…, 3, 3] from nine numbers, or from six in a known order; refused where clearly not symmetric."""
    flat = values.reshape(*leading, -1)
    if flat.shape[-1] == 6 and order is not None:
        matrix = np.zeros((*leading, 3, 3))
        for component, (i, j) in enumerate(order):
            matrix[..., i, j] = matrix[..., j, i] = flat[..., component]
        return matrix
    if flat.shape[-1] == 6:
        raise DataError(
            "E-STRESS-CONVENTION",
            f"'{key}' has six numbers and their order is not stated",
            why="VASP writes xx yy zz xy yz zx, ASE xx yy zz yz xz xy: shear components would be exchanged",
            fix="state stress_convention='ase' or 'kbar-vasp', or leave it out with keys={'stress': None}",
        )
    if flat.shape[-1] != 9:
        raise DataError(
            "E-LABEL-SHAPE", f"'{key}' has {flat.shape[-1]} numbers, not six or nine", fix="write all nine components"
        )
    matrix = flat.reshape(*leading, 3, 3)
    transposed = np.swapaxes(matrix, -1, -2)
    if np.abs(matrix - transposed).max(initial=0.0) > _ASYMMETRY * max(np.abs(matrix).max(initial=0.0), 1e-6):
        raise DataError(
            "E-STRESS-ASYMMETRIC",
            f"'{key}' is not symmetric: {np.array2string(matrix, precision=4)}",
            why="a stress is; the components are in another order or of another quantity",
            fix="check how it was written, or leave it out with keys={'stress': None}",
        )
    return 0.5 * (matrix + transposed)


def compare_with_virial(stress: np.ndarray, virial: np.ndarray, volume: float, keys: tuple[str, str]) -> None:
    """Refuse a stress and a virial that are not −|V| × each other, naming the factor between them."""
    expected = -virial / volume
    scale = max(np.abs(expected).max(), np.abs(stress).max())
    if np.abs(stress - expected).max() <= 1e-3 * scale + 1e-7:
        return
    factor = float((stress * expected).sum() / (expected**2).sum()) if np.abs(expected).max() > 0 else float("inf")
    proportional = np.abs(stress - factor * expected).max() <= 1e-2 * scale
    meaning = _FACTORS.get(next((f for f in _FACTORS if np.isclose(factor, f, rtol=1e-2)), 0.0), "")
    found = f"{factor:.5g} times" + (f" ({meaning})" if meaning else "") if proportional else "not proportional to"
    raise DataError(
        "E-STRESS-VIRIAL",
        f"'{keys[0]}' and '{keys[1]}' disagree: the stress is {found} −virial/|V|",
        why="one of them has another unit or sign, and a model would learn it",
        fix="state stress_convention, or leave one out with keys={'stress': None} or keys={'virial': None}",
    )


_FACTORS: Mapping[float, str] = {
    -1.0: "opposite sign",
    1 / GIGAPASCAL: "GPa",
    -1 / GIGAPASCAL: "GPa, opposite sign",
    1 / KILOBAR: "kbar",
    -1 / KILOBAR: "kbar with VASP's sign",
}
