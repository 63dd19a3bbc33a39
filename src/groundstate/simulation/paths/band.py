"""An elastic band: images of a structure on the way from one minimum to another, held apart by springs."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import GroundstateError, System
from groundstate.simulation.engine import Engine
from groundstate.simulation.relaxation.fire import Coordinates, FireState, advance, at_rest


@dataclass(frozen=True, eq=False)
class Bands:
    """Many bands as one `System`, in which one "system" is a whole band: its images one after the other, ends included.

    images  in each band, ends included · image of each atom row, counted through all bands · stride atoms of one image
    """

    system: System
    images: int
    image: Int[Tensor, " atom"]
    stride: Int[Tensor, " atom"]

    @classmethod
    def of(cls, system: System, images: int) -> "Bands":
        """The layout of bands laid out as said above."""
        sizes = system.atoms_per_system // images
        image = torch.repeat_interleave(
            torch.arange(images * system.n_systems, device=system.device), sizes.repeat_interleave(images)
        )
        return cls(system, images, image, sizes[system.system_index])

    @property
    def inner(self) -> Bool[Tensor, " atom"]:
        """Atom rows of the images that move."""
        place = self.image % self.images
        return (place > 0) & (place < self.images - 1)

    def per_image(self, values: Float[Tensor, "atom"]) -> Float[Tensor, "system image"]:
        """Sum over the atoms of each image."""
        total = torch.zeros(self.system.n_systems * self.images, dtype=values.dtype, device=values.device)
        return total.index_add(0, self.image, values).reshape(-1, self.images)

    def per_atom(self, values: Float[Tensor, "system image"]) -> Float[Tensor, "atom"]:
        """The value of its image for each atom."""
        return values.reshape(-1)[self.image]

    def structures(self) -> System:
        """Every image as a structure of its own."""
        whole, images = self.system, self.images
        sizes = (whole.atoms_per_system // images).repeat_interleave(images)
        changes = {"system_ptr": torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])}
        for name in ("cell", "pbc", "charge", "multiplicity", "theory", "field", "electrode_potential"):
            value = getattr(whole, name)
            if value is not None:
                changes[name] = value.repeat_interleave(images, dim=0)
        return whole.replace(**changes)

    def steps(self) -> tuple[Float[Tensor, "atom 3"], Float[Tensor, "atom 3"]]:
        """Vectors to the next image and from the image before, Å; 0 beyond the ends."""
        positions, rows = self.system.positions, torch.arange(self.system.n_atoms, device=self.system.device)
        place = self.image % self.images
        after = torch.where(place < self.images - 1, rows + self.stride, rows)
        before = torch.where(place > 0, rows - self.stride, rows)
        return positions[after] - positions, positions - positions[before]


@dataclass(frozen=True, eq=False)
class Band:
    """Forces of the elastic band: what moves the images (`total`), and what the path looks like there.

    slope dE/ds along the path, eV/Å · before, after distances to the neighbouring images, Å
    """

    total: Float[Tensor, "atom 3"]
    slope: Float[Tensor, "system image"]
    before: Float[Tensor, "system image"]
    after: Float[Tensor, "system image"]


def tangents(bands: Bands, energy: Float[Tensor, "system image"]) -> Float[Tensor, "atom 3"]:
    """Unit tangents that point to the neighbour of higher energy, and mix both where the image is an extremum.

    Source: Henkelman, Jónsson, J. Chem. Phys. 113, 9978 (2000), eqs 8–11.
    Checked: tests/simulation/test_band.py
    """
    up, down = bands.steps()
    following = torch.cat([energy[:, 1:], energy[:, -1:]], dim=1)
    preceding = torch.cat([energy[:, :1], energy[:, :-1]], dim=1)
    rising, falling = (following > energy) & (energy > preceding), (following < energy) & (energy < preceding)
    gaps = torch.stack([(following - energy).abs(), (preceding - energy).abs()])
    large, small = gaps.amax(dim=0), gaps.amin(dim=0)
    higher = following > preceding
    one, zero = torch.ones_like(energy), torch.zeros_like(energy)
    forward = torch.where(rising, one, torch.where(falling, zero, torch.where(higher, large, small)))
    backward = torch.where(rising, zero, torch.where(falling, one, torch.where(higher, small, large)))
    level = (forward == 0) & (backward == 0)
    forward, backward = torch.where(level, one, forward), torch.where(level, one, backward)
    direction = up * bands.per_atom(forward)[:, None] + down * bands.per_atom(backward)[:, None]
    lengths = bands.per_image((direction**2).sum(dim=1)).sqrt().clamp_min(1e-300)
    return direction / bands.per_atom(lengths)[:, None]


def band_forces(
    bands: Bands,
    energy: Float[Tensor, "system image"],
    forces: Float[Tensor, "atom 3"],
    springs: Float[Tensor, "system image"],
    climbing: Bool[Tensor, " system"],
) -> Band:
    """F⊥ + (k₊|R₊ − R| − k₋|R − R₋|)τ̂ for each image between the ends; the climbing one F − 2(F·τ̂)τ̂, without springs.

    springs  constant of the spring that leads to each image, eV/Å² (the first is not used)
    Source: Henkelman, Jónsson, J. Chem. Phys. 113, 9978 (2000), eq. 12; Henkelman, Uberuaga, Jónsson, ibid. 9901
    (2000), eq. 5.
    """
    tangent = tangents(bands, energy)
    up, down = bands.steps()
    after, before = (bands.per_image((vector**2).sum(dim=1)).sqrt() for vector in (up, down))
    along = bands.per_image((forces * tangent).sum(dim=1))
    pull = torch.cat([springs[:, 1:], springs[:, -1:]], dim=1) * after - springs * before
    climbs = climbers(energy) & climbing[:, None]
    change = torch.where(climbs, -2 * along, pull - along)
    total = forces + bands.per_atom(change)[:, None] * tangent
    return Band(torch.where(bands.inner[:, None], total, torch.zeros_like(total)), -along, before, after)


def climbers(energy: Float[Tensor, "system image"]) -> Bool[Tensor, "system image"]:
    """The highest image of each band, where it lies between the ends."""
    highest = torch.nn.functional.one_hot(energy.argmax(dim=1), energy.shape[1]).to(torch.bool)
    highest[:, 0] = highest[:, -1] = False
    return highest


def spring_constants(
    energy: Float[Tensor, "system image"], stiffest: float, softest: float
) -> Float[Tensor, "system image"]:
    """Constants of the springs, eV/Å²: stiff near the saddle, so that images gather there; all equal when both are.

    k = k_max − Δk (E_max − E)/(E_max − E_ref) above the higher end E_ref, k_max − Δk below; E the higher of its images.
    Source: Henkelman, Uberuaga, Jónsson, J. Chem. Phys. 113, 9901 (2000), eq. 8.
    """
    pair = torch.maximum(energy, torch.cat([energy[:, :1], energy[:, :-1]], dim=1))
    top, reference = energy.amax(dim=1, keepdim=True), torch.maximum(energy[:, :1], energy[:, -1:])
    share = ((top - pair) / (top - reference).clamp_min(1e-12)).clamp(0.0, 1.0)
    share = torch.where(pair > reference, share, torch.ones_like(share))
    return stiffest - (stiffest - softest) * share


@dataclass(frozen=True, eq=False)
class BandState:
    """Bands under way; one "system" is a band. `steps` is −1 before the first evaluation.

    force total band force · forces of the potential (ends: 0) · energy of the images, ends included
    climbing whether the highest image climbs · residual the largest band force on an atom, eV/Å
    """

    system: System
    fixed: Bool[Tensor, " atom"]
    index: Int[Tensor, " system"]
    fire: FireState
    force: Float[Tensor, "atom 3"]
    forces: Float[Tensor, "atom 3"]
    energy: Float[Tensor, "system image"]
    climbing: Bool[Tensor, " system"]
    residual: Float[Tensor, " system"]
    steps: Int[Tensor, " system"]


def init(
    system: System,
    fixed: Bool[Tensor, " atom"],
    index: Int[Tensor, " system"],
    energy: Float[Tensor, "system image"],
    max_step: float,
) -> BandState:
    """Bands that have not been computed yet but for the energies of their ends; the first step computes the rest."""
    zero = Coordinates(torch.zeros_like(system.positions), torch.zeros_like(system.cell))
    unknown = torch.full_like(energy[:, 0], torch.inf)
    calm = torch.zeros_like(index, dtype=torch.bool)
    fire = at_rest(zero, max_step)
    return BandState(
        system, fixed, index, fire, zero.atoms, zero.atoms, energy, calm, unknown, torch.full_like(index, -1)
    )


@dataclass(frozen=True)
class Elasticity:
    """Springs (eV/Å²), and the residual below which the highest image begins to climb; `None`: never."""

    stiffest: float
    softest: float
    climb_below: float | None


def step(
    state: BandState, engine: Engine, elasticity: Elasticity
) -> tuple[BandState, dict[int, tuple[int, GroundstateError]]]:
    """All images of all bands one step on, in one evaluation; refused images by band: which one, and why."""
    owner = state.system.system_index
    still = torch.zeros_like(state.system.cell)
    fire, shift = advance(state.fire, Coordinates(state.force, still), owner)
    system = state.system.replace(positions=state.system.positions + shift.atoms)
    bands = Bands.of(system, state.energy.shape[1])
    energy, forces, errors = _computed(bands, state, engine)
    springs = spring_constants(energy, elasticity.stiffest, elasticity.softest)
    found = band_forces(bands, energy, forces, springs, state.climbing)
    residual = _longest(found.total, owner)
    climbing = state.climbing
    if elasticity.climb_below is not None:
        starting = (residual < elasticity.climb_below) & ~climbing & climbers(energy).any(dim=1)
        if bool(starting.any()):
            climbing = climbing | starting
            found = band_forces(bands, energy, forces, springs, climbing)
            residual = _longest(found.total, owner)
    moved = replace(
        state,
        system=system,
        fire=fire,
        force=found.total,
        forces=forces,
        energy=energy,
        climbing=climbing,
        residual=residual,
        steps=state.steps + 1,
    )
    return moved, errors


def _computed(
    bands: Bands, state: BandState, engine: Engine
) -> tuple[Tensor, Tensor, dict[int, tuple[int, GroundstateError]]]:
    images = bands.images
    moving = [i for i in range(images * bands.system.n_systems) if 0 < i % images < images - 1]
    found, refused = engine.evaluate(bands.structures().select(moving), ("energy", "forces"))
    energy, forces = state.energy.clone(), torch.zeros_like(bands.system.positions)
    energy[:, 1:-1] = found["energy"].reshape(-1, images - 2)
    forces[bands.inner] = found["forces"]
    forces = torch.where(state.fixed[:, None], torch.zeros_like(forces), forces)
    return energy, forces, {moving[s] // images: (moving[s] % images, error) for s, error in refused.items()}


def _longest(rows: Float[Tensor, "atom 3"], owner: Int[Tensor, " atom"]) -> Float[Tensor, " system"]:
    lengths = torch.linalg.vector_norm(rows, dim=1)
    return torch.zeros(int(owner[-1]) + 1, dtype=rows.dtype, device=rows.device).scatter_reduce(
        0, owner, lengths, "amax"
    )
