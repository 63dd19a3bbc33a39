"""A rigid molecule put at random into a rigid framework: Henry coefficient and heat of adsorption at zero loading."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Allowances, OptionError, StructureError, System, check
from groundstate.atoms.elements import periodic_table
from groundstate.atoms.units import BOLTZMANN, BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C, ATOMIC_MASS_kg
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.evaluation import computed
from groundstate.simulation.outputs import RunFolder, identity, input_keys, run_folder
from groundstate.simulation.paths.ends import minimum_image
from groundstate.simulation.progress import Callback, Progress, silent
from groundstate.simulation.relaxation.relax import no_atoms

AVOGADRO = 6.02214076e23
KJ_PER_MOL = ELEMENTARY_CHARGE_C * AVOGADRO / 1000
"""kJ/mol of 1 eV."""
FEW = 30
"""Effective insertions below which an average rests on too few of them."""


@dataclass(frozen=True)
class WidomConfig:
    """How a framework is sampled.

    temperatures_K     one or several; all are averages over the same insertions
    insertions         in all, in `blocks` independent parts of equal size, whose scatter gives the error bars
    overlap            an insertion with an atom closer to the framework than this times the sum of covalent radii is
                       not computed and weighs zero; 0 computes all. It is meant for contacts of many eV, whose
                       Boltzmann factor is zero to all digits: where molecules bind to open metal sites keep it below 1
    seed               of positions and orientations
    max_atoms_per_batch computed together
    """

    temperatures_K: tuple[float, ...] = (298.15,)
    insertions: int = 2000
    blocks: int = 10
    overlap: float = 0.9
    seed: int = 0
    max_atoms_per_batch: int | None = 512

    def __post_init__(self) -> None:
        if not self.temperatures_K:
            raise OptionError("E-TEMPERATURE", "no temperature was given", fix="give one or several, in K")
        for temperature in self.temperatures_K:
            options.within("temperatures_K", temperature, 1.0, 5000.0, hint="it is in K")
        options.whole("blocks", self.blocks, 2)
        options.whole("insertions", self.insertions, self.blocks)
        options.within("overlap", self.overlap, 0.0, 2.0, hint="it multiplies the sum of covalent radii")
        options.whole("seed", self.seed, 0)
        if self.max_atoms_per_batch is not None:
            options.whole("max_atoms_per_batch", self.max_atoms_per_batch, 1)
        if self.insertions % self.blocks:
            what = f"{self.insertions} insertions do not divide into {self.blocks} blocks"
            raise OptionError("E-OPTION-CONFLICT", what, fix="give a multiple of the number of blocks")


@dataclass(frozen=True)
class HenryPoint:
    """Zero loading at one temperature; errors are standard errors from the scatter of blocks.

    henry        loading over pressure, mol/(kg Pa) of framework, and per volume of it, mol/(m³ Pa)
    heat_kJ_per_mol  isosteric heat of adsorption q_st, positive when heat is released
    excess_eV    excess chemical potential −kT ln⟨exp(−E/kT)⟩
    effective    number of insertions the average rests on, (Σw)²/Σw²
    """

    temperature_K: float
    henry_mol_per_kg_Pa: float
    henry_error: float
    henry_mol_per_m3_Pa: float
    heat_kJ_per_mol: float
    heat_error: float
    excess_eV: float
    effective: float


@dataclass(frozen=True, eq=False)
class WidomResult:
    """Zero-loading adsorption of one molecule in one framework.

    points       one per temperature
    interaction  of each insertion, block by block: E(framework + guest) − E(framework) − E(guest), eV; +∞ where atoms
                 overlap and nothing was computed
    overlapping  share of insertions counted as zero · best: the insertion of lowest energy, framework and guest
    best_energy  its interaction, eV · best_contact Å, its shortest distance between guest and framework
    framework_energy, guest_energy eV, what was subtracted · density_kg_per_m3 of the framework
    """

    points: tuple[HenryPoint, ...]
    interaction: Float[Tensor, "block insertion"]
    overlapping: float
    best: System | None
    best_energy: float | None
    best_contact: float | None
    framework_energy: float
    guest_energy: float
    density_kg_per_m3: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    record: Mapping[str, Any]


def widom(
    framework: System,
    guest: System,
    potential: Potential,
    config: WidomConfig | None = None,
    *,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> WidomResult:
    """Henry coefficient and isosteric heat of a rigid guest at zero loading of a rigid framework.

    K = ⟨exp(−E/kT)⟩/(ρ R T), q = R T − ⟨E exp(−E/kT)⟩/⟨exp(−E/kT)⟩, averages over positions and orientations, E the
    interaction energy. Each block is a Latin hypercube in the three coordinates and the three numbers of the rotation,
    so that it is unbiased and spread evenly. With `output`, finished blocks are on disk and the same call continues.
    Raises StructureError for what cannot be computed, RunError for the folder.
    Source: Widom, J. Chem. Phys. 39, 2808 (1963); Vlugt, García-Pérez, Dubbeldam, Ban, Calero, J. Chem. Theory Comput.
    4, 1107 (2008). Checked: tests/simulation/test_widom.py (ideal gas, quadrature)
    """
    config = config or WidomConfig()
    _refuse(framework, guest, potential, allow)
    resolved = {name: value for name, value in asdict(config).items() if name != "max_atoms_per_batch"}
    resolved["inputs"] = [input_keys(single, no_atoms(single))[0] for single in (framework, guest)]
    record = identity("widom", potential.fingerprint(), resolved)
    folder = nullcontext(None) if output is None else run_folder(Path(output), record)
    with folder as run:
        host = float(computed(framework, potential, None, ("energy",))["energy"])
        alone = float(computed(guest, potential, None, ("energy",))["energy"])
        done = {} if run is None else {line["block"]: line["energies"] for line in run.lines}
        size = config.insertions // config.blocks
        blocks = []
        for b in range(config.blocks):
            if b in done:
                energies = [torch.inf if value is None else value for value in done[b]]
                blocks.append(torch.tensor(energies, dtype=torch.float64))
            else:
                blocks.append(_block(framework, guest, potential, config, b, host + alone))
                _commit(run, b, blocks[-1])
            progress(Progress((b + 1) * size, config.insertions, "insertions"))
    return _result(framework, guest, potential, config, torch.stack(blocks), (host, alone), record)


def _commit(run: RunFolder | None, block: int, energies: Tensor) -> None:
    if run is not None:
        run.commit({"block": block, "energies": [value if value < torch.inf else None for value in energies.tolist()]})


def _refuse(framework: System, guest: System, potential: Potential, allow: Allowances | None) -> None:
    if framework.n_systems != 1 or guest.n_systems != 1:
        raise OptionError("E-WIDOM-ONE", "one framework and one guest are needed", fix="give one structure of each")
    if not bool(framework.pbc.all()):
        raise StructureError(
            "E-WIDOM-FRAMEWORK", "the framework is not periodic in three directions", fix="give a crystal, or set pbc"
        )
    if bool(guest.pbc.any()):
        raise StructureError(
            "E-WIDOM-GUEST", "the guest is periodic", why="it is one molecule", fix="set its pbc to F, without a cell"
        )
    for single in (framework, guest):
        check(single, potential.domain, allow)


def inserted(framework: System, guest: Float[Tensor, "member 3"], numbers: Tensor, masses: Tensor) -> System:
    """The framework with one guest at these positions."""
    return framework.replace(
        positions=torch.cat([framework.positions, guest]),
        numbers=torch.cat([framework.numbers, numbers]),
        masses=torch.cat([framework.masses, masses]),
        moments=None,
        system_ptr=torch.tensor([0, framework.n_atoms + len(numbers)], device=framework.device),
    )


def placements(
    framework: System, guest: System, count: int, seed: int, block: int
) -> Float[Tensor, "insertion member 3"]:
    """Positions of the guest's atoms for a block of insertions: its centre of mass and orientation are uniform.

    Orientation: Shoemake's map of three uniform numbers to a unit quaternion (Graphics Gems III, 1992, p. 124).
    """
    generator = np.random.default_rng([seed, block])
    strata = np.stack([generator.permutation(count) for _ in range(6)], axis=1)
    uniform = torch.from_numpy((strata + generator.random((count, 6))) / count)
    centre = uniform[:, :3] @ framework.cell[0].cpu()
    a, b = 2 * torch.pi * uniform[:, 4], 2 * torch.pi * uniform[:, 5]
    low, high = (1 - uniform[:, 3]).sqrt(), uniform[:, 3].sqrt()
    x, y, z, w = low * torch.sin(a), low * torch.cos(a), high * torch.sin(b), high * torch.cos(b)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], dim=1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], dim=1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    rotation = torch.stack(rows, dim=1)
    weights = (guest.masses / guest.masses.sum())[:, None]
    body = (guest.positions - (weights * guest.positions).sum(dim=0)).cpu()
    turned = torch.einsum("kij,mj->kmi", rotation, body)
    return (turned + centre[:, None, :]).to(framework.device)


def contacts(
    framework: System, guest: System, places: Float[Tensor, "insertion member 3"]
) -> tuple[Float[Tensor, " insertion"], Float[Tensor, " insertion"]]:
    """Shortest distance between guest and framework, Å, and the smallest as a fraction of the covalent radii's sum."""
    radii = torch.tensor([0.0, *(row.covalent_radius for row in periodic_table())], dtype=torch.float64)
    radii = radii.to(framework.device)
    bonded = radii[guest.numbers][:, None] + radii[framework.numbers][None, :]
    vectors = framework.positions[None, None] - places[:, :, None]
    shortest = minimum_image(vectors.reshape(-1, 3), framework.cell[0], framework.pbc[0])
    distance = torch.linalg.vector_norm(shortest, dim=1).reshape(len(places), guest.n_atoms, framework.n_atoms)
    return distance.amin(dim=(1, 2)), (distance / bonded).amin(dim=(1, 2))


def _block(
    framework: System, guest: System, potential: Potential, config: WidomConfig, block: int, apart: float
) -> Float[Tensor, " insertion"]:
    count = config.insertions // config.blocks
    places = placements(framework, guest, count, config.seed, block)
    energies = torch.full((count,), torch.inf, dtype=torch.float64)
    _, ratio = contacts(framework, guest, places)
    open_places = (ratio >= config.overlap).nonzero()[:, 0].tolist()
    if not open_places:
        return energies
    batch = System.batch([inserted(framework, places[k], guest.numbers, guest.masses) for k in open_places])
    found = computed(batch, potential, config.max_atoms_per_batch, ("energy",))["energy"].cpu()
    energies[open_places] = found - apart
    return energies


def _averages(
    energies: Float[Tensor, "block insertion"], temperature_K: float
) -> tuple[Float[Tensor, " block"], Float[Tensor, " block"], float]:
    """Means of w and of E·w in each block relative to exp(−`lowest`/kT), and `lowest`."""
    beta = 1 / (BOLTZMANN * temperature_K)
    finite = torch.isfinite(energies)
    lowest = float(energies[finite].min()) if bool(finite.any()) else 0.0
    weights = torch.where(finite, torch.exp(-beta * (energies - lowest)), torch.zeros_like(energies))
    products = torch.where(finite, energies, torch.zeros_like(energies)) * weights
    return weights.mean(dim=1), products.mean(dim=1), lowest


def henry_point(
    energies: Float[Tensor, "block insertion"], temperature_K: float, density_kg_per_m3: float
) -> HenryPoint:
    """Averages over insertions of these interaction energies (eV). Raises StructureError where none fits."""
    weight, product, lowest = _averages(energies, temperature_K)
    if float(weight.sum()) == 0.0:
        raise StructureError(
            "E-WIDOM-CLOSED",
            f"none of {energies.numel()} insertions fits into the framework",
            why="the guest is too large for the pores, or `overlap` forbids the places it has",
            fix="look at guest and framework; try more insertions or a smaller overlap",
        )
    blocks, thermal = len(weight), BOLTZMANN * temperature_K
    scale = float(np.exp(-lowest / thermal)) / (BOLTZMANN_J_PER_K * AVOGADRO * temperature_K)
    per_volume = scale * weight
    # The heat is a ratio of means: its error comes from leaving out one block at a time.
    left_out = (product.sum() - product) / (weight.sum() - weight).clamp_min(1e-300)
    heat_error = float(((blocks - 1) / blocks * ((left_out - left_out.mean()) ** 2).sum()).sqrt())
    beta = 1 / thermal
    each = torch.where(torch.isfinite(energies), torch.exp(-beta * (energies - lowest)), torch.zeros_like(energies))
    mean = float(per_volume.mean())
    return HenryPoint(
        temperature_K=temperature_K,
        henry_mol_per_kg_Pa=mean / density_kg_per_m3,
        henry_error=float(per_volume.std()) / blocks**0.5 / density_kg_per_m3,
        henry_mol_per_m3_Pa=mean,
        heat_kJ_per_mol=KJ_PER_MOL * (thermal - float(product.sum() / weight.sum())),
        heat_error=KJ_PER_MOL * heat_error,
        excess_eV=lowest - thermal * float(np.log(float(weight.mean()))),
        effective=float(each.sum() ** 2 / (each**2).sum()),
    )


def _result(
    framework: System,
    guest: System,
    potential: Potential,
    config: WidomConfig,
    energies: Float[Tensor, "block insertion"],
    subtracted: tuple[float, float],
    record: Mapping[str, Any],
) -> WidomResult:
    density = float(framework.masses.sum()) * ATOMIC_MASS_kg / (float(framework.volume[0]) * 1e-30)
    points = tuple(henry_point(energies, temperature, density) for temperature in config.temperatures_K)
    overlapping = float(torch.isinf(energies).double().mean())
    count = config.insertions // config.blocks
    block, member = divmod(int(energies.argmin()), count)
    place = placements(framework, guest, count, config.seed, block)[member]
    distance, ratio = contacts(framework, guest, place[None])
    lowest = float(energies.min())
    notes = [
        f"{100 * overlapping:.1f} % of insertions overlap the framework (closer than {config.overlap:g} of the sum of"
        " covalent radii) and weigh zero, which is what their Boltzmann factor is",
        "framework and guest are rigid; pockets that the guest cannot reach are sampled like open pores",
    ]
    return WidomResult(
        points=points,
        interaction=energies,
        overlapping=overlapping,
        best=inserted(framework, place, guest.numbers, guest.masses),
        best_energy=lowest,
        best_contact=float(distance[0]),
        framework_energy=subtracted[0],
        guest_energy=subtracted[1],
        density_kg_per_m3=density,
        notes=tuple(notes),
        warnings=tuple(_doubts(framework, guest, potential, points, lowest, float(distance[0]), float(ratio[0]))),
        record=record,
    )


def _doubts(
    framework: System,
    guest: System,
    potential: Potential,
    points: tuple[HenryPoint, ...],
    lowest: float,
    contact: float,
    ratio: float,
) -> list[str]:
    """What makes the averages doubtful."""
    found = []
    widths = 1 / torch.linalg.vector_norm(torch.linalg.inv(framework.cell[0]), dim=0)
    length = float(torch.cdist(guest.positions, guest.positions).max())
    room = float(widths.min()) - length
    if room < potential.cutoff:
        found.append(
            f"periodic images of the guest come within {max(room, 0.0):.1f} Å, the potential reaches"
            f" {potential.cutoff:g} Å: part of the interaction is between guests; repeat the framework's cell"
        )
    for point in points:
        if point.effective < FEW:
            found.append(
                f"at {point.temperature_K:g} K the average rests on {point.effective:.1f} insertions: more are needed"
            )
    if ratio < 1.2 and lowest < 0:
        found.append(
            f"the strongest binding, {lowest:.2f} eV, is a contact of {contact:.2f} Å, a chemical bond or a hole in"
            " the potential: look at `best`, and raise `overlap` where it is a hole"
        )
    return found
