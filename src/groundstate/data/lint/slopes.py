"""Slopes that outliers do not move, and what an unusual one means."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from groundstate.atoms.units import BOHR, ELEMENTARY_CHARGE_C, GIGAPASCAL, HARTREE, KILOBAR
from groundstate.data.lint.frames import Floats

_AVOGADRO = 6.02214076e23
KCAL = 4184.0 / (_AVOGADRO * ELEMENTARY_CHARGE_C)
"""One kcal/mol in eV."""
KJ = KCAL / 4.184
_KNOWN = 0.2
"""Of the logarithm: slopes this near to a factor may be it. Anharmonic steps bend slopes by as much."""

FORCE_FACTORS: Mapping[float, str] = {
    # energy = factor × work of the labelled forces
    HARTREE / BOHR: "forces in Hartree/bohr",
    HARTREE: "forces in Hartree/Å",
    0.5 * HARTREE / BOHR: "forces in Rydberg/bohr",
    0.5 * HARTREE: "forces in Rydberg/Å",
    1 / BOHR: "forces in eV/bohr",
    BOHR: "lengths in bohr",
    KCAL: "forces in kcal/mol/Å",
    KJ: "forces in kJ/mol/Å",
    1 / HARTREE: "energies in Hartree",
    2 / HARTREE: "energies in Rydberg",
    1 / KCAL: "energies in kcal/mol",
    1 / KJ: "energies in kJ/mol",
    2.0: "forces halved",
    0.5: "forces doubled",
}
STRESS_FACTORS: Mapping[float, str] = {
    # energy = factor × volume × labelled stress : strain
    GIGAPASCAL: "stress in GPa",
    KILOBAR: "stress in kbar",
    HARTREE / BOHR**3: "stress in Hartree/bohr³",
    0.5 * HARTREE / BOHR**3: "stress in Rydberg/bohr³",
    2.0: "stress halved",
    0.5: "stress doubled",
    3.0: "a third of the stress",
    1 / 3: "three times the stress",
}


@dataclass(frozen=True)
class Slope:
    """y ≈ value·x, with its 95 % interval, and the median of |y − value·x| over the scale of both; n points."""

    value: float
    low: float
    high: float
    scatter: float
    n: int

    @property
    def is_known(self) -> bool:
        """Whether the two are proportional and the slope is known within a factor of 2."""
        return self.scatter < TIGHT and self.low * self.high > 0 and 0.5 < abs(self.low / self.high) < 2.0

    @property
    def is_one(self) -> bool:
        """Equal to 1 as far as anharmonic steps can say."""
        return self.is_known and 0.71 < self.value < 1.41

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g}) over {self.n} steps"


TIGHT = 0.2
"""Scatter below which two quantities are proportional. Of unrelated ones it is near 1."""


def slope(x: Floats, y: Floats, scale: Floats, noise: float) -> Slope:
    """The slope of y against x through 0 that makes Σ|y − slope·x|/scale smallest: a weighted median of the ratios.

    scale: of the error of x at each point, in units of x · noise: of y. Half of the points may be wrong.
    Source: Boscovich's regression as in Koenker, Quantile Regression (2005), chapter 1.
    """
    usable = np.abs(x) > 0
    x, y, scale = x[usable], y[usable], scale[usable]
    if len(x) == 0:
        return Slope(np.nan, np.nan, np.nan, np.inf, 0)
    ratio = y / x
    order = np.argsort(ratio)
    # Neither a label that is turned (x grows) nor one that is moved (y grows) may weigh more than the others.
    size = np.abs(x) + scale
    weight = np.minimum(np.abs(x) / size, np.abs(y) / (np.abs(y) + size))[order] + 1e-12
    share = np.cumsum(weight) / weight.sum()
    spread = 0.98 * float(np.sqrt((weight**2).sum()) / weight.sum())
    low, middle, high = (
        float(ratio[order][min(int(np.searchsorted(share, level)), len(x) - 1)])
        for level in (0.5 - spread, 0.5, 0.5 + spread)
    )
    size = np.abs(y) + abs(middle) * (np.abs(x) + scale) + noise
    return Slope(middle, low, high, float(np.median(np.abs(y - middle * x) / size)), len(x))


def meaning(value: float, factors: Mapping[float, str]) -> str:
    """What a slope says of units and sign, every reading that is near; "" when nothing known is."""
    near = {
        name: abs(np.log(abs(value) / factor))
        for factor, name in {1.0: "", **factors}.items()
        if abs(np.log(abs(value) / factor)) < _KNOWN
    }
    if not near:
        return ""
    names = sorted((name for name in near if near[name] < min(near.values()) + 0.08), key=near.__getitem__)
    said = " or ".join(filter(None, names))
    return ", ".join(filter(None, ["the opposite sign" if value < 0 else "", said]))
