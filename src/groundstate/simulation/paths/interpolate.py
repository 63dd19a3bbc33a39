"""First guesses of a path: straight lines, or images whose distances between atoms change evenly."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import System
from groundstate.simulation.paths.band import Bands, band_forces
from groundstate.simulation.paths.ends import displacements, minimum_image
from groundstate.simulation.relaxation.fire import Coordinates, advance, at_rest

INTERPOLATIONS = ("idpp", "linear")
_STEPS, _TOLERANCE, _SPRING = 300, 0.02, 0.1


def interpolate(
    start: System, end: System, fixed: Bool[Tensor, " atom"], between: int, kind: str
) -> Float[Tensor, "image atom 3"]:
    """Positions of all images, ends included; the last is the end's nearest periodic copy, atom by atom.

    linear  each atom on a straight line · idpp  from there to a band that is relaxed on the image dependent pair
    potential, which keeps atoms from passing through each other.
    """
    share = torch.linspace(0, 1, between + 2, dtype=torch.float64, device=start.device)[:, None, None]
    line = start.positions + share * displacements(start, end)
    return line if kind == "linear" else idpp(start, line, fixed)


def idpp(
    start: System, line: Float[Tensor, "image atom 3"], fixed: Bool[Tensor, " atom"]
) -> Float[Tensor, "image atom 3"]:
    """The band of S = Σ_{i<j} (d_ij − d⁰_ij)²/d_ij⁴ with d⁰ interpolated between the distances of the ends.

    Which periodic image of a neighbour counts is decided on the straight line, where start and interpolation agree.
    Source: Smidstrup, Pedersen, Stokbro, Jónsson, J. Chem. Phys. 140, 214106 (2014).
    Checked: tests/simulation/test_path_interpolation.py (no overlap, ASE)
    """
    images, n = line.shape[:2]
    i, j = torch.triu_indices(n, n, offset=1, device=line.device)
    if len(i) == 0:
        return line
    straight = (line[:, j] - line[:, i]).reshape(-1, 3)
    offset = (minimum_image(straight, start.cell[0], start.pbc[0]) - straight).reshape(images, -1, 3)
    ends = torch.linalg.vector_norm((straight.reshape(images, -1, 3) + offset)[[0, -1]], dim=2)
    share = torch.linspace(0, 1, images, dtype=torch.float64, device=line.device)[:, None]
    wanted = (1 - share) * ends[0] + share * ends[1]
    held = fixed.repeat(images)[:, None]
    band = band_of(start, line)
    fire = at_rest(Coordinates(torch.zeros_like(band.positions), torch.zeros_like(band.cell)), 0.1)
    springs = torch.full((1, images), _SPRING, dtype=torch.float64, device=line.device)
    calm = torch.zeros(1, dtype=torch.bool, device=line.device)
    for _ in range(_STEPS):
        score, slope = _score(band.positions.reshape(images, n, 3), i, j, offset, wanted)
        forces = torch.where(held, torch.zeros_like(band.positions), -slope.reshape(-1, 3))
        total = band_forces(Bands.of(band, images), score[None], forces, springs, calm).total
        if float(torch.linalg.vector_norm(total, dim=1).max()) < _TOLERANCE:
            break
        fire, shift = advance(fire, Coordinates(total, torch.zeros_like(band.cell)), band.system_index)
        band = band.replace(positions=band.positions + shift.atoms)
    return band.positions.reshape(images, n, 3)


def _score(positions: Tensor, i: Tensor, j: Tensor, offset: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """S of each image and its gradient."""
    with torch.enable_grad():
        place = positions.detach().requires_grad_()
        distance = torch.linalg.vector_norm(place[:, j] - place[:, i] + offset, dim=2).clamp_min(1e-3)
        score = ((distance - wanted) ** 2 / distance**4).sum(dim=1)
        (slope,) = torch.autograd.grad(score.sum(), place)
    return score.detach(), slope


def band_of(start: System, images: Float[Tensor, "image atom 3"]) -> System:
    """The images of a structure as one band: see `band.Bands`."""
    count, n = images.shape[:2]
    return start.replace(
        positions=images.reshape(-1, 3),
        numbers=start.numbers.repeat(count),
        masses=start.masses.repeat(count),
        moments=None if start.moments is None else start.moments.repeat(count, 1),
        system_ptr=torch.tensor([0, count * n], device=start.device),
    )
