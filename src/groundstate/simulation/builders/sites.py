"""Places on a surface that symmetry tells apart."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import RunError, System
from groundstate.data import to_pymatgen
from groundstate.simulation.builders.settings import quietly
from groundstate.simulation.paths.ends import minimum_image

SAME = 0.1
"""Å in the plane within which two places are one."""
BELOW = 0.6
"""Å in the plane within which an atom lies under a site."""
LAYER = 0.7
"""Å along the normal within which atoms belong to one layer."""


@dataclass(frozen=True, eq=False)
class Site:
    """A place on the surface. name: its kind, and for a hollow of three the layer under it (hcp second, fcc third)."""

    kind: str
    name: str
    position: Float[Tensor, " 3"]


def adsorption_sites(slab: System) -> list[Site]:
    """The distinct sites of the upper side; equal names are numbered."""
    try:
        from pymatgen.analysis.adsorption import AdsorbateSiteFinder
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING", "finding adsorption sites needs pymatgen", fix="pip install 'groundstate[pymatgen]'"
        ) from None
    periodic = slab.replace(pbc=torch.ones_like(slab.pbc))
    (structure,) = to_pymatgen(periodic)
    with quietly():
        finder = AdsorbateSiteFinder(structure, mi_vec=tuple(_normal(slab).tolist()))
        found = finder.find_adsorption_sites(distance=0.0, symm_reduce=0.05, near_reduce=0.05)
    sites: list[Site] = []
    for place in (*found["ontop"], *found["bridge"], *found["hollow"]):
        position = torch.as_tensor(place, dtype=torch.float64)
        kind = _kind(slab, position)
        name = _named(slab, position, kind)
        alike = [site for site in sites if site.name.split(" #")[0] == name]
        if alike and nearest_site(position, alike, slab)[1] < SAME:
            continue
        sites.append(Site(kind, f"{name} #{len(alike) + 1}" if alike else name, position))
    return sites


def nearest_site(point: Float[Tensor, " 3"], sites: list[Site], slab: System) -> tuple[Site, float]:
    """The kind of place a point is over, all equivalents counted, and how far in the plane, Å."""
    every = _everywhere(slab, sites)
    gaps = [(float(_across(slab, places - point).min()), k) for k, places in enumerate(every)]
    distance, k = min(gaps)
    return sites[k], distance


def _everywhere(slab: System, sites: list[Site]) -> list[Tensor]:
    """All places equivalent to each site under the symmetry of the outermost layers."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    (structure,) = to_pymatgen(slab.replace(pbc=torch.ones_like(slab.pbc)))
    with quietly():
        operations = SpacegroupAnalyzer(structure, symprec=0.1).get_symmetry_operations(cartesian=True)
    normal = _normal(slab)
    # Operations that turn the slab over belong to its lower side.
    upright = [
        operation
        for operation in operations
        if float((torch.as_tensor(operation.rotation_matrix) @ normal) @ normal) > 0.99
    ]
    found = []
    for site in sites:
        images = [torch.as_tensor(operation.operate(site.position.numpy())) for operation in upright]
        found.append(torch.stack([image - (image @ normal) * normal for image in images]))
    return found


def _across(slab: System, vectors: Float[Tensor, "pair 3"]) -> Float[Tensor, " pair"]:
    """Lengths in the plane of the shortest periodic images."""
    normal = _normal(slab)
    flat = vectors - (vectors @ normal)[:, None] * normal
    plane = torch.tensor([True, True, False])
    return torch.linalg.vector_norm(minimum_image(flat, slab.cell[0], plane), dim=1)


def _normal(slab: System) -> Float[Tensor, " 3"]:
    normal = torch.linalg.cross(slab.cell[0, 0], slab.cell[0, 1])
    sign = 1.0 if float(slab.cell[0, 2] @ normal) >= 0 else -1.0
    return sign * normal / normal.norm()


def _around(slab: System, position: Tensor) -> tuple[Float[Tensor, " image"], Float[Tensor, " image"]]:
    """Distance in the plane and depth below the outermost atom, of all atoms and their images nearby, Å."""
    normal = _normal(slab)
    steps = torch.cartesian_prod(*[torch.arange(-2.0, 3.0, dtype=torch.float64)] * 2) @ slab.cell[0, :2]
    vectors = (slab.positions[:, None] + steps[None] - position).reshape(-1, 3)
    flat = vectors - (vectors @ normal)[:, None] * normal
    depth = slab.positions @ normal
    depth = (depth.max() - depth).repeat_interleave(len(steps))
    return torch.linalg.vector_norm(flat, dim=1), depth


def _kind(slab: System, position: Tensor) -> str:
    """By how many atoms of the outermost layer are equally near: one, two, more."""
    across, depth = _around(slab, position)
    outer = across[depth < LAYER]
    return {1: "top", 2: "bridge"}.get(int((outer < outer.min() + 0.3).sum()), "hollow")


def _named(slab: System, position: Tensor, kind: str) -> str:
    """`hcp` or `fcc` where three atoms surround a hollow and the second or third layer has an atom under it."""
    if kind != "hollow":
        return kind
    across, depth = _around(slab, position)
    outer = across[depth < LAYER].sort().values
    under = depth[(across < BELOW) & (depth >= LAYER)]
    if float(outer[3] - outer[2]) < 0.2 or len(under) == 0:
        return "hollow"
    ordered = depth.sort().values
    levels = ordered[torch.cat([torch.tensor([True]), ordered.diff() > LAYER])]
    layer = int((levels <= float(under.min()) + LAYER / 2).sum())
    return {2: "hcp hollow", 3: "fcc hollow"}.get(layer, "hollow")
