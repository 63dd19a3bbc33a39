"""Places on a surface that symmetry tells apart."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import RunError, System
from groundstate.data import to_pymatgen
from groundstate.simulation.paths.ends import minimum_image

_NAMES = {"ontop": "top", "bridge": "bridge", "hollow": "hollow"}
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
    finder = AdsorbateSiteFinder(structure, mi_vec=tuple(_normal(slab).tolist()))
    found = finder.find_adsorption_sites(distance=0.0, symm_reduce=0.05, near_reduce=0.05)
    sites: list[Site] = []
    for given, kind in _NAMES.items():
        for place in found[given]:
            position = torch.as_tensor(place, dtype=torch.float64)
            name = _named(slab, position, kind)
            same = sum(site.name.split(" #")[0] == name for site in sites)
            sites.append(Site(kind, f"{name} #{same + 1}" if same else name, position))
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
    operations = SpacegroupAnalyzer(structure, symprec=0.1).get_symmetry_operations(cartesian=True)
    normal = _normal(slab)
    found = []
    for site in sites:
        images = [torch.as_tensor(operation.operate(site.position.numpy())) for operation in operations]
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


def _named(slab: System, position: Tensor, kind: str) -> str:
    """`hcp` or `fcc` where three atoms surround a hollow and the second or third layer has an atom under it."""
    if kind != "hollow":
        return kind
    depth = slab.positions @ _normal(slab)
    depth = float(depth.max()) - depth
    across = _across(slab, slab.positions - position)
    nearest = across[depth < LAYER].sort().values
    if len(nearest) > 3 and float(nearest[3] - nearest[2]) < 0.2:
        return "hollow"
    under = depth[(across < BELOW) & (depth >= LAYER)]
    if len(under) == 0:
        return "hollow"
    ordered = depth.sort().values
    levels = ordered[torch.cat([torch.tensor([True]), ordered.diff() > LAYER])]
    layer = int((levels <= float(under.min()) + LAYER / 2).sum())
    return {2: "hcp hollow", 3: "fcc hollow"}.get(layer, "hollow")
