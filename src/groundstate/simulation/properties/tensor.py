"""What a 6×6 table of elastic constants says: averages, stability, symmetry. Voigt order xx yy zz yz xz xy.

The strain of the table has doubled shears (γ = 2ε), so C₄₄ is a shear modulus.
Checked: tests/simulation/properties/test_elastic.py
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_INDEX = torch.tensor([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


@dataclass(frozen=True)
class Averages:
    """Moduli of a polycrystal, GPa: bulk K and shear G by Voigt (equal strain, upper bound) and Reuss (equal stress,
    lower bound), Hill their mean; Young's modulus, Poisson's ratio and K/G of Hill's; universal anisotropy
    5 G_V/G_R + K_V/K_R − 6, 0 for an isotropic crystal.

    Source: Hill, Proc. Phys. Soc. A 65, 349 (1952); Ranganathan, Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504
    (2008).
    """

    bulk_voigt: float
    bulk_reuss: float
    bulk_hill: float
    shear_voigt: float
    shear_reuss: float
    shear_hill: float
    young: float
    poisson: float
    pugh: float
    anisotropy: float


def averages(constants: Float[Tensor, "6 6"]) -> Averages | None:
    """Averages of a stable crystal; an unstable one has none."""
    if not is_stable(constants):
        return None
    c = 0.5 * (constants + constants.T)
    s = torch.linalg.inv(c)

    def parts(m: Tensor) -> tuple[float, float, float]:
        return float(m[:3, :3].diagonal().sum()), float(m[0, 1] + m[0, 2] + m[1, 2]), float(m[3:, 3:].diagonal().sum())

    diagonal, mixed, shear = parts(c)
    k_v, g_v = (diagonal + 2 * mixed) / 9, (diagonal - mixed + 3 * shear) / 15
    diagonal, mixed, shear = parts(s)
    k_r, g_r = 1 / (diagonal + 2 * mixed), 15 / (4 * diagonal - 4 * mixed + 3 * shear)
    k, g = 0.5 * (k_v + k_r), 0.5 * (g_v + g_r)
    young, poisson = 9 * k * g / (3 * k + g), (3 * k - 2 * g) / (2 * (3 * k + g))
    return Averages(k_v, k_r, k, g_v, g_r, g, young, poisson, k / g, 5 * g_v / g_r + k_v / k_r - 6)


def is_stable(constants: Float[Tensor, "6 6"]) -> bool:
    """Born's criterion for any symmetry: every homogeneous strain costs energy.

    Source: Mouhat, Coudert, Phys. Rev. B 90, 224104 (2014).
    """
    return bool(torch.linalg.eigvalsh(0.5 * (constants + constants.T)).min() > 0)


def rotated(constants: Float[Tensor, "6 6"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "6 6"]:
    """The constants of the crystal turned by `rotation` (columns r′ = R r)."""
    full = constants[_INDEX][:, :, _INDEX]
    turned = torch.einsum("ai,bj,ck,dl,ijkl->abcd", rotation, rotation, rotation, rotation, full)
    return _folded(turned)


def symmetrised(constants: Float[Tensor, "6 6"], rotations: Float[Tensor, "operation 3 3"]) -> Float[Tensor, "6 6"]:
    """The mean over the point group, which leaves only what the symmetry allows."""
    return torch.stack([rotated(constants, r.to(constants)) for r in rotations]).mean(dim=0)


def _folded(full: Float[Tensor, "3 3 3 3"]) -> Float[Tensor, "6 6"]:
    rows = torch.stack([full[i, j] for i, j in VOIGT])
    return torch.stack([rows[:, i, j] for i, j in VOIGT], dim=1)
