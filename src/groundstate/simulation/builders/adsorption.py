"""Molecules on surfaces: sites that symmetry tells apart, the way in, and the energy against three references."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import Allowances, OptionError, StructureError, System, check, judge
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.builders.settings import Settings, relaxed
from groundstate.simulation.builders.sites import Site, adsorption_sites, nearest_site
from groundstate.simulation.builders.surfaces import THIN_VACUUM, vacuum_of
from groundstate.simulation.evaluation import computed
from groundstate.simulation.outputs import identity
from groundstate.simulation.paths.ends import minimum_image
from groundstate.simulation.progress import Callback, silent
from groundstate.simulation.relaxation import RelaxResult

ORIENTATIONS = ("up", "down", "flat", "as_given")
BROKEN = 1.3
"""A bond of the molecule that grew by this factor is broken."""


@dataclass(frozen=True)
class AdsorptionConfig:
    """How a molecule is placed and relaxed.

    anchor       the atom of the molecule that meets the surface
    orientation  the rest of the molecule points `up` from the anchor, `down`, `flat` along the surface, or `as_given`
    sites        kinds of sites: top, bridge, hollow
    heights      Å of the anchor above the outermost atoms, scanned; relaxation begins at the lowest energy
    fixed_share  the lower share of the slab's thickness that does not move
    closest_images  Å; molecules nearer to their periodic images are warned of
    """

    anchor: int = 0
    orientation: str = "up"
    sites: tuple[str, ...] = ("top", "bridge", "hollow")
    heights: tuple[float, ...] = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.3, 2.6, 3.0, 3.5, 4.0, 5.0)
    fixed_share: float = 0.5
    closest_images: float = 5.0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        options.whole("anchor", self.anchor, 0)
        options.one_of("orientation", self.orientation, ORIENTATIONS)
        for kind in self.sites:
            options.one_of("sites", kind, ("top", "bridge", "hollow"))
        if not self.sites or not self.heights:
            raise OptionError("E-OPTION-RANGE", "no site or no height was given", fix="give at least one of each")
        for height in self.heights:
            options.within("heights", height, 0.1, 20.0, hint="they are in Å above the outermost atoms")
        options.within("fixed_share", self.fixed_share, 0.0, 0.95, hint="it is a share of the slab's thickness")
        options.within("closest_images", self.closest_images, 0.0, 50.0, hint="it is in Å")


@dataclass(frozen=True, eq=False)
class Adsorbed:
    """A molecule that was put on one site.

    energy         eV, E(slab + molecule) − E(slab) − E(molecule), negative when it binds; `None` where it did not relax
    ended_at       the site nearest to the anchor after relaxation, with its distance in the plane, Å
    height         Å of the anchor above the outermost slab atoms · contact Å, shortest distance to the surface
    heights, curve Å and eV: rigid molecule over the relaxed slab, against both apart
    """

    site: Site
    energy: float | None
    ended_at: str
    moved: float
    height: float
    contact: float
    heights: tuple[float, ...]
    curve: tuple[float | None, ...]
    relaxation: RelaxResult
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Adsorption:
    """A molecule on a surface, site by site, and what was subtracted.

    slab, molecule  relaxations of the references, at the same settings as the rest
    coverage        molecules per outermost atom · images Å between periodic images of the molecule
    """

    sites: tuple[Adsorbed, ...]
    slab: RelaxResult
    molecule: RelaxResult
    coverage: float
    images: float
    subtracted: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    record: Mapping[str, Any]

    @property
    def best(self) -> Adsorbed | None:
        """The strongest binding."""
        known = [one for one in self.sites if one.energy is not None]
        return min(known, key=lambda one: one.energy or 0.0, default=None)


def adsorption(
    slab: System,
    molecule: System,
    potential: Potential,
    config: AdsorptionConfig | None = None,
    *,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> Adsorption:
    """Adsorption energies of a molecule on the distinct sites of a slab's upper side.

    Slab and molecule are relaxed in one batch; the molecule is scanned over each site of the relaxed slab and relaxed
    from the lowest point, all sites in one batch. The slab's normal is its third direction, c or −c.
    Raises StructureError for a slab or molecule that cannot be used.
    Checked: tests/simulation/test_adsorption.py
    """
    config = config or AdsorptionConfig()
    notes = _refuse(slab, molecule, potential, config, allow)
    record = identity("adsorption", potential.fingerprint(), asdict(config))
    held = lower_atoms(slab, config.fixed_share)
    nothing = torch.zeros(molecule.n_atoms, dtype=torch.bool)
    folder = None if output is None else Path(output)
    bare, alone = relaxed(
        [slab, molecule], [held, nothing], potential, config.settings, allow, _within(folder, "references"), progress
    )
    for name, reference in (("slab", bare), ("molecule", alone)):
        if not reference.converged:
            raise StructureError(
                "E-ADSORPTION-REFERENCE",
                f"the {name} by itself did not relax ({reference.status}: {reference.reason})",
                why="every adsorption energy is counted from it",
                fix=f"relax the {name} by itself and look at it, or give more steps",
            )
    sites = [site for site in adsorption_sites(bare.system) if site.kind in config.sites]
    body = turned(alone.system, config.anchor, config.orientation)
    apart = float(bare.energy or 0.0) + float(alone.energy or 0.0)
    curves = _scan(bare.system, alone.system, body, sites, potential, config, apart)
    starts = [
        placed(bare.system, alone.system, body, site, _lowest(config.heights, curve))
        for site, curve in zip(sites, curves, strict=True)
    ]
    results = relaxed(
        starts,
        [torch.cat([held, nothing])] * len(starts),
        potential,
        config.settings,
        allow,
        _within(folder, "sites"),
        progress,
    )
    found = tuple(
        _adsorbed(site, curve, result, bare, alone, sites, config)
        for site, curve, result in zip(sites, curves, results, strict=True)
    )
    return _gathered(found, bare, alone, potential, config, notes, record)


def _within(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name


def lower_atoms(slab: System, share: float) -> Bool[Tensor, " atom"]:
    """The atoms of the lower `share` of the thickness."""
    height = slab.positions @ normal_of(slab)
    low, high = float(height.min()), float(height.max())
    return height < low + share * (high - low) if share > 0 else torch.zeros_like(height, dtype=torch.bool)


def normal_of(slab: System) -> Float[Tensor, " 3"]:
    """The outward normal of the upper side."""
    normal = torch.linalg.cross(slab.cell[0, 0], slab.cell[0, 1])
    sign = 1.0 if float(slab.cell[0, 2] @ normal) >= 0 else -1.0
    return sign * normal / normal.norm()


def turned(molecule: System, anchor: int, orientation: str) -> Float[Tensor, "member 3"]:
    """The molecule about its anchor, with its further atoms along z (`up`), −z (`down`) or x (`flat`)."""
    body = molecule.positions - molecule.positions[anchor]
    axis = body.mean(dim=0)
    if orientation == "as_given" or float(axis.norm()) < 1e-6:
        return body
    wanted = {"up": [0.0, 0.0, 1.0], "down": [0.0, 0.0, -1.0], "flat": [1.0, 0.0, 0.0]}[orientation]
    return body @ _rotation(axis / axis.norm(), torch.tensor(wanted, dtype=torch.float64)).T


def _rotation(start: Tensor, end: Tensor) -> Float[Tensor, "3 3"]:
    """The shortest rotation of one unit vector into another (Rodrigues)."""
    cross, cosine = torch.linalg.cross(start, end), float(start @ end)
    if cosine < -1 + 1e-12:
        helper = torch.eye(3, dtype=torch.float64)[int(start.abs().argmin())]
        axis = torch.linalg.cross(start, helper)
        axis = axis / axis.norm()
        return 2 * torch.outer(axis, axis) - torch.eye(3, dtype=torch.float64)
    x, y, z = cross.tolist()
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + skew + skew @ skew / (1 + cosine)


def placed(slab: System, molecule: System, body: Float[Tensor, "member 3"], site: Site, height: float) -> System:
    """The slab with the molecule's anchor at this height over a site."""
    normal = normal_of(slab)
    along = slab.cell[0, 0] / slab.cell[0, 0].norm()
    frame = torch.stack([along, torch.linalg.cross(normal, along), normal])
    top = float((slab.positions @ normal).max())
    foot = site.position - (site.position @ normal) * normal + (top + height) * normal
    return slab.replace(
        positions=torch.cat([slab.positions, foot + body @ frame]),
        numbers=torch.cat([slab.numbers, molecule.numbers]),
        masses=torch.cat([slab.masses, molecule.masses]),
        moments=None,
        system_ptr=torch.tensor([0, slab.n_atoms + molecule.n_atoms]),
    )


def _scan(
    slab: System,
    molecule: System,
    body: Tensor,
    sites: list[Site],
    potential: Potential,
    config: AdsorptionConfig,
    apart: float,
) -> list[list[float | None]]:
    """Energy of the rigid molecule over each site at each height; `None` where atoms would overlap."""
    copies = [placed(slab, molecule, body, site, height) for site in sites for height in config.heights]
    sound = [not judge(copy, potential.domain)[0].problems for copy in copies]
    batch = System.batch([copy for copy, fine in zip(copies, sound, strict=True) if fine])
    energies = iter(computed(batch, potential, config.settings.max_atoms_per_batch, ("energy",))["energy"].tolist())
    flat = [next(energies) - apart if fine else None for fine in sound]
    count = len(config.heights)
    return [flat[k : k + count] for k in range(0, len(flat), count)]


def _lowest(heights: tuple[float, ...], curve: list[float | None]) -> float:
    known = [(energy, height) for energy, height in zip(curve, heights, strict=True) if energy is not None]
    return min(known)[1] if known else max(heights)


def _adsorbed(
    site: Site,
    curve: list[float | None],
    result: RelaxResult,
    bare: RelaxResult,
    alone: RelaxResult,
    sites: list[Site],
    config: AdsorptionConfig,
) -> Adsorbed:
    single, n = result.system, bare.system.n_atoms
    normal = normal_of(bare.system)
    height = single.positions @ normal
    here, moved = nearest_site(single.positions[n + config.anchor], sites, bare.system)
    contact = _contact(single, n)
    warnings = []
    if not result.converged:
        warnings.append(f"did not relax ({result.status}: {result.reason}): no energy")
    if here.name != site.name:
        warnings.append(f"put on {site.name}, it ended at {here.name}")
    if contact > 3.0:
        warnings.append(f"the molecule left the surface: {contact:.1f} Å from it")
    if broken := _stretched(alone.system.positions, single.positions[n:]):
        warnings.append(f"the molecule broke: {broken}")
    energy = None
    if result.converged and result.energy is not None:
        energy = result.energy - float(bare.energy or 0.0) - float(alone.energy or 0.0)
    return Adsorbed(
        site=site,
        energy=energy,
        ended_at=here.name,
        moved=moved,
        height=float(height[n + config.anchor] - height[:n].max()),
        contact=contact,
        heights=config.heights,
        curve=tuple(curve),
        relaxation=result,
        warnings=tuple(warnings),
    )


def _contact(single: System, n: int) -> float:
    vectors = (single.positions[:n, None] - single.positions[None, n:]).reshape(-1, 3)
    return float(torch.linalg.vector_norm(minimum_image(vectors, single.cell[0], single.pbc[0]), dim=1).min())


def _stretched(before: Tensor, after: Tensor) -> str:
    """Bonds (closer than 2 Å) that grew by more than `BROKEN`."""
    if len(before) < 2:
        return ""
    old, new = torch.cdist(before, before), torch.cdist(after, after)
    pairs = ((old < 2.0) & (new > BROKEN * old)).triu(1).nonzero().tolist()
    return ", ".join(f"atoms {i}–{j} {float(old[i, j]):.2f} → {float(new[i, j]):.2f} Å" for i, j in pairs)


def _refuse(
    slab: System, molecule: System, potential: Potential, config: AdsorptionConfig, allow: Allowances | None
) -> list[str]:
    if slab.n_systems != 1 or molecule.n_systems != 1:
        raise OptionError("E-BUILDER-ONE", "one slab and one molecule are needed", fix="give one structure of each")
    if not bool(slab.pbc[0, :2].all()):
        raise StructureError(
            "E-SLAB", "the slab is not periodic along its first two vectors", fix="give a slab with its normal along c"
        )
    if bool(molecule.pbc.any()):
        raise StructureError("E-MOLECULE", "the molecule is periodic", fix="set its pbc to F")
    if config.anchor >= molecule.n_atoms:
        what = f"anchor {config.anchor} does not exist in a molecule of {molecule.n_atoms} atoms"
        raise OptionError(
            "E-ATOM-LIST", what, why="atoms are counted from 0", fix="name the one that meets the surface"
        )
    gap = vacuum_of(slab)
    if gap < 3.0:
        raise StructureError(
            "E-SLAB", f"there are {gap:.1f} Å of vacuum: this is no slab", fix="cut one, `groundstate surface` does"
        )
    return check(slab, potential.domain, allow) + check(molecule, potential.domain, allow)


def _gathered(
    found: tuple[Adsorbed, ...],
    bare: RelaxResult,
    alone: RelaxResult,
    potential: Potential,
    config: AdsorptionConfig,
    notes: list[str],
    record: Mapping[str, Any],
) -> Adsorption:
    slab, molecule = bare.system, alone.system
    a, b = slab.cell[0, :2]
    vectors = torch.stack([a, b, a + b, a - b])
    extent = turned(molecule, config.anchor, config.orientation)[:, :2]
    images = float(vectors.norm(dim=1).min()) - float(torch.cdist(extent, extent).max())
    height = slab.positions @ normal_of(slab)
    coverage = 1 / int((height > height.max() - 0.5).sum())
    tallest = float((molecule.positions - molecule.positions[config.anchor]).norm(dim=1).max())
    room = vacuum_of(slab) - tallest - max((one.height for one in found), default=0.0)
    warnings = []
    if images < config.closest_images:
        warnings.append(f"molecules are {images:.1f} Å from their images: the energy is of coverage {coverage:.2f}")
    if bool(slab.pbc[0, 2]) and room < max(THIN_VACUUM, potential.cutoff):
        warnings.append(
            f"{room:.1f} Å from the molecule to the next slab, the potential reaches {potential.cutoff:g} Å: widen it"
        )
    subtracted = (
        f"E_ads = E(slab + molecule) − E(slab) − E(molecule), E(slab) = {bare.energy:.5f} eV, E(molecule) ="
        f" {alone.energy:.5f} eV, each relaxed to {config.settings.force_tolerance:g} eV/Å; negative binds"
    )
    return Adsorption(found, bare, alone, coverage, images, subtracted, tuple(notes), tuple(warnings), record)
