"""The curves E(V) of solids and their fits.

Birch, Phys. Rev. 71, 809 (1947), third order: with f = (V₀/V)^⅔ − 1,
    E = E₀ + (9 V₀ B / 16) [f³ B′ + f² (6 − 4 (V₀/V)^⅔)]
Vinet, Ferrante, Rose, Smith, J. Phys. C 19, L467 (1986): with x = (V/V₀)^⅓ and η = 3(B′ − 1)/2,
    E = E₀ + (9 V₀ B / η²) [1 − (1 − η(1 − x)) e^{η(1 − x)}]
Checked: tests/simulation/properties/test_equation_of_state.py (planted curves, derivatives, ASE).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from groundstate.atoms import RunError
from groundstate.atoms.units import GIGAPASCAL

Curve = Callable[..., NDArray[np.float64]]


def birch_murnaghan(
    volume: NDArray[np.float64], energy_0: float, volume_0: float, bulk: float, bulk_prime: float
) -> NDArray[np.float64]:
    """Third order Birch–Murnaghan; eV, Å³, eV/Å³."""
    squeezed = (volume_0 / volume) ** (2 / 3)
    f = squeezed - 1
    return energy_0 + 9 * volume_0 * bulk / 16 * (f**3 * bulk_prime + f**2 * (6 - 4 * squeezed))


def vinet(
    volume: NDArray[np.float64], energy_0: float, volume_0: float, bulk: float, bulk_prime: float
) -> NDArray[np.float64]:
    """Vinet; eV, Å³, eV/Å³."""
    x = (volume / volume_0) ** (1 / 3)
    eta = 1.5 * (bulk_prime - 1)
    return energy_0 + 9 * volume_0 * bulk / eta**2 * (1 - (1 - eta * (1 - x)) * np.exp(eta * (1 - x)))


FORMS: Mapping[str, Curve] = {"birch_murnaghan": birch_murnaghan, "vinet": vinet}


@dataclass(frozen=True)
class CurveFit:
    """Minimum and curvature of a fitted E(V), each with its standard error.

    energy eV and volume Å³ of the cell · bulk_modulus GPa · bulk_prime its pressure derivative · residual root mean
    square distance of the energies from the curve, eV per cell
    """

    form: str
    energy: float
    volume: float
    bulk_modulus_GPa: float
    bulk_prime: float
    energy_error: float
    volume_error: float
    bulk_modulus_error_GPa: float
    bulk_prime_error: float
    residual: float

    def energies_at(self, volumes: Float[Tensor, " point"]) -> NDArray[np.float64]:
        """The curve at volumes, eV."""
        parameters = (self.energy, self.volume, self.bulk_modulus_GPa * GIGAPASCAL, self.bulk_prime)
        return FORMS[self.form](volumes.numpy(), *parameters)


def fit_curve(volumes: Float[Tensor, " point"], energies: Float[Tensor, " point"], form: str) -> CurveFit:
    """Least squares; the standard errors are those of the scatter about the curve, not of the model.

    Energies are measured from their mean and volumes in units of the middle one, so the fit is well conditioned.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    v, e = volumes.numpy(), energies.numpy()
    middle, zero = float(v[len(v) // 2]), float(e.mean())
    a, b, c = np.polyfit(v / middle, e - zero, 2)
    at = -b / (2 * a) if a > 0 else 1.0
    guess = (c - b * b / (4 * a) if a > 0 else 0.0, at, max(2 * a * at, 1e-3), 4.0)

    def scaled(x: NDArray[np.float64], energy_0: float, x_0: float, bulk: float, prime: float) -> NDArray[np.float64]:
        return FORMS[form](x, energy_0, x_0, bulk, prime)

    try:
        found, covariance = curve_fit(scaled, v / middle, e - zero, p0=guess, maxfev=20_000, xtol=1e-13, ftol=1e-13)
    except (RuntimeError, OptimizeWarning, ValueError) as error:
        raise RunError(
            "E-EOS-FIT",
            f"no {form} curve fits the energies ({error})",
            why="there is no minimum to describe",
            fix="look at energies against volume; change the range or relax first",
        ) from None
    errors = np.sqrt(np.clip(np.diag(covariance), 0, None))
    in_GPa = 1 / (middle * GIGAPASCAL)
    return CurveFit(
        form=form,
        energy=float(found[0] + zero),
        volume=float(found[1] * middle),
        bulk_modulus_GPa=float(found[2] * in_GPa),
        bulk_prime=float(found[3]),
        energy_error=float(errors[0]),
        volume_error=float(errors[1] * middle),
        bulk_modulus_error_GPa=float(errors[2] * in_GPa),
        bulk_prime_error=float(errors[3]),
        residual=float(np.sqrt(np.mean((scaled(v / middle, *found) - (e - zero)) ** 2))),
    )
