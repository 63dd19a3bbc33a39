"""Structures the laws are tried on: small, rattled, bond-like, the same for a seed, of elements the potential knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import OptionError, System
from groundstate.atoms.elements import element, symbols
from groundstate.laws.precision import device_of
from groundstate.potentials import Potential

COMMON = (8, 14, 29, 6, 1, 11, 17, 26, 7, 13, 22, 12, 16, 9, 15, 3, 30, 20)
"""Elements most data sets hold."""
CROWDING = 0.95
"""Spacing of the atoms in sums of covalent radii: a little compressed, so that short-range terms act too."""
RESOLUTION = 2.0**-30
"""Å; coordinates are multiples of it, so that moving a specimen by 10⁶ Å rounds nothing."""
OPEN_THICKNESS = 20.0
"""Å; length of the lattice vector along which the slab is not periodic."""


@dataclass(frozen=True, eq=False)
class Specimens:
    """Named structures, one system each, with the elements and the seed they were made from.

    bulk · left_handed, skewed (the same crystal by other lattice vectors) · thin (two atoms) and primitive (one atom),
    cells smaller than a cutoff · slab, slab_zero_c · chain · molecule. `pairs` are the diatomics to try.
    """

    structures: Mapping[str, System]
    elements: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    seed: int

    def __getitem__(self, name: str) -> System:
        return self.structures[name]

    def generator(self) -> torch.Generator:
        """A fresh source of the same random numbers for every law."""
        return torch.Generator().manual_seed(self.seed + 1)


def prepare(potential: Potential, *, elements: Sequence[int] | None = None, seed: int = 0) -> Specimens:
    """Specimens of the given elements (atomic numbers), or of three common ones that the potential knows.

    Conditions the potential needs are stated: charge 0, the lowest multiplicity the electrons allow, theory 0.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = _choose(potential, elements, generator)
    spacing = CROWDING * 2 * max(element(number).covalent_radius for number in chosen)
    systems = {name: prepared(potential, s) for name, s in _structures(chosen, spacing, generator).items()}
    return Specimens(systems, chosen, _pairs(potential, elements, chosen, generator), seed)


def prepared(potential: Potential, system: System, *, charge: float = 0.0) -> System:
    """The structure with the conditions its potential needs, on the potential's device.

    charge e, stated when it is not 0 or when needed · multiplicity, where needed, the lowest the electrons allow.
    """
    domain, n = potential.domain, system.n_systems
    changes: dict[str, Tensor] = {}
    if domain.charge == "needs" or charge != 0:
        changes["charge"] = torch.full((n,), float(charge), dtype=torch.float64)
    if domain.multiplicity == "needs":
        electrons = system.sum_over_atoms(system.numbers.to(torch.float64)).to(torch.int64) - int(charge)
        changes["multiplicity"] = 1 + electrons % 2
    if domain.theory == "needs":
        changes["theory"] = torch.zeros(n, dtype=torch.int64)
    return system.replace(**changes).to(device_of(potential))


def _choose(potential: Potential, elements: Sequence[int] | None, generator: torch.Generator) -> tuple[int, ...]:
    known = potential.domain.elements
    if elements is not None:
        unknown = [number for number in elements if known is not None and number not in known]
        if len(elements) == 0 or unknown:
            raise OptionError(
                "E-LAWS-ELEMENTS",
                f"the potential does not know {', '.join(symbols(unknown))}" if unknown else "no elements were given",
                fix="name elements of the model, or none and common ones are chosen",
            )
        return tuple(int(number) for number in elements)
    common = [number for number in COMMON if known is None or number in known]
    candidates = common or sorted(known or ())
    order = torch.randperm(len(candidates), generator=generator)[:3]
    return tuple(candidates[i] for i in order.tolist())


def _pairs(
    potential: Potential, given: Sequence[int] | None, chosen: tuple[int, ...], generator: torch.Generator
) -> tuple[tuple[int, int], ...]:
    """Every pair of the chosen elements, and twelve at random of all the potential knows unless elements were given."""
    own = [(a, b) for i, a in enumerate(chosen) for b in chosen[i:]]
    if given is not None:
        return tuple(own)
    known = sorted(potential.domain.elements or range(1, 95))
    drawn = torch.randint(len(known), (12, 2), generator=generator).tolist()
    return tuple(dict.fromkeys(own + [(known[min(i, j)], known[max(i, j)]) for i, j in drawn]))


def _structures(elements: tuple[int, ...], spacing: float, generator: torch.Generator) -> dict[str, System]:
    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, dtype=torch.float64, generator=generator) - 1

    def build(shape: tuple[int, int, int], pbc: str, shear: float = 0.1) -> System:
        grid = torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64) for n in shape]).reshape(-1, 3)
        cell = spacing * torch.diag(torch.tensor(shape, dtype=torch.float64))
        cell = cell @ (torch.eye(3, dtype=torch.float64) + shear * uniform(3, 3))
        positions = (grid / torch.tensor(shape)) @ cell + 0.07 * spacing * uniform(len(grid), 3)
        kinds = torch.randperm(len(grid), generator=generator) % len(elements)
        periodic = [letter == "T" for letter in pbc]
        cell = _rounded(cell) * torch.tensor(periodic)[:, None]
        return System.single(_rounded(positions), torch.tensor(elements)[kinds], cell=cell, pbc=periodic)

    bulk, slab = build((2, 2, 2), "TTT"), build((2, 2, 2), "TTF")
    a, b, c = bulk.cell[0]
    open_vector = slab.cell.new_tensor([3.0, -2.0, OPEN_THICKNESS])
    return {
        "bulk": bulk,
        "left_handed": bulk.replace(cell=torch.stack([b, a, c])[None]),
        "skewed": bulk.replace(cell=torch.stack([a, b + 2 * a, c - 2 * b + a])[None]),
        "thin": build((2, 1, 1), "TTT"),
        "primitive": build((1, 1, 1), "TTT"),
        "slab": slab.replace(cell=torch.stack([slab.cell[0, 0], slab.cell[0, 1], open_vector])[None]),
        "slab_zero_c": slab,
        "chain": build((2, 2, 1), "TFF"),
        "molecule": build((3, 2, 1), "FFF"),
    }


def _rounded(values: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
    return torch.round(values / RESOLUTION) * RESOLUTION


def repeated(system: System, repeats: tuple[int, int, int]) -> System:
    """One structure repeated along its lattice vectors, itself first. Charge and unpaired electrons add."""
    steps = torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64) for n in repeats]).reshape(-1, 3)
    steps = steps.to(system.device)
    count = len(steps)
    positions = (system.positions[None] + (steps @ system.cell[0])[:, None]).reshape(-1, 3)
    multiplicity, charge = system.multiplicity, system.charge
    return system.replace(
        positions=positions,
        numbers=system.numbers.repeat(count),
        masses=system.masses.repeat(count),
        system_ptr=system.system_ptr * count,
        cell=system.cell * steps.new_tensor(repeats)[None, :, None],
        charge=None if charge is None else charge * count,
        multiplicity=None if multiplicity is None else (multiplicity - 1) * count + 1,
    )
