"""How something ends at a distance: smoothly."""

from jaxtyping import Float
from torch import Tensor


def polynomial_switch(x: Float[Tensor, " pair"], power: int) -> Float[Tensor, " pair"]:
    """1 − ½(p+1)(p+2) x^p + p(p+2) x^(p+1) − ½p(p+1) x^(p+2), from 1 at x = 0 to exactly 0 from x = 1 on.

    Value, slope and curvature vanish at 1. Source: Gasteiger et al., DimeNet, ICLR 2020 (arXiv:2003.03123), eq. 8.
    Checked: tests/potentials/test_mace_radial.py
    """
    p, x = power, x.clamp_max(1.0)
    return 1.0 - x**p * ((p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2)))
