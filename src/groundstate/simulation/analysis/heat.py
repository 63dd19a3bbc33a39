"""Heat that flows between atoms, and the thermal conductivity that its fluctuations stand for."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundstate.atoms import DataError, Geometry, System, UndefinedPropertyError, find_neighbours
from groundstate.atoms.neighbours import complete_cell
from groundstate.atoms.units import BOLTZMANN, ELEMENTARY_CHARGE_C, FEMTOSECOND
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.analysis.motion import BLOCKS, correlation

LARGEST = 20_000
"""Atoms of the unfolded structure at which the cost is refused."""
DEEPEST = 8
"""Rounds of message passing that are tried."""


@dataclass(frozen=True, eq=False)
class Conductivity:
    """κ in W/(m·K), with the standard error over blocks, from the integral up to `cutoff_fs`.

    running   κ as a function of the upper limit `lag_fs`, where a plateau should be seen · note: empty where it is
    """

    kappa_W_per_m_K: float
    error_W_per_m_K: float
    cutoff_fs: float
    lag_fs: Float[Tensor, " frame"]
    running: Float[Tensor, " frame"]
    note: str


def heat_flux(
    potential: Potential, system: System, velocities: Float[Tensor, "atom 3"], *, depth: int | None = None
) -> Float[Tensor, "3"]:
    """J of one structure, eV Å/fs; velocities Å/fs.

    J = Σ_i E_i v_i + Σ_i Σ_j (r_i − r_j) (∂U_i/∂r_j · v_j), E_i = U_i + ½ m v_i², where i runs over the atoms of the
    cell and j over all that U_i depends on, images included. With message passing these reach several cutoffs, so the
    structure is unfolded: a cluster with every atom within `depth` cutoffs, in which the derivatives are exact. With
    depth `None` it grows until the U_i of the cell agree with those of the periodic structure; a depth that is given is
    checked in the same way. For a cluster J = d/dt Σ_i r_i E_i.
    Source: Langer, Frank & Knoop, J. Chem. Phys. 159, 174105 (2023); Fan et al., Phys. Rev. B 92, 094301 (2015).
    Checked: tests/simulation/test_heat.py (pair formula, energy moments of a cluster, supercells, message passing)
    """
    if system.n_systems != 1:
        raise UndefinedPropertyError("E-HEAT-BATCH", "a heat flux belongs to one structure", fix="select one")
    if not potential.conservative:
        raise _no_slopes()
    periodic = _site_energies(potential, system)
    tolerance = _tolerance(potential, periodic)
    for rounds in range(1, DEEPEST + 1) if depth is None else [depth]:
        cluster, owner, home = _unfold(system, rounds * potential.cutoff)
        centre = cluster.positions[home].mean(dim=0)
        cluster = cluster.replace(positions=(cluster.positions - centre).requires_grad_())
        with torch.enable_grad():
            energies = _partition(potential, cluster)[home]
            if not energies.requires_grad:
                raise _no_slopes()
            if float((energies.detach() - periodic).abs().max()) <= tolerance:
                return _flux(energies, cluster, owner, home, system, velocities / FEMTOSECOND) * FEMTOSECOND
    raise UndefinedPropertyError(
        "E-HEAT-FLUX-REACH",
        f"the energies of atoms depend on more than {rounds} cutoff(s) around them",
        why="a flux without all of these atoms is wrong",
        fix="leave depth to be found; long-range parts have no flux here",
    )


def _flux(
    energies: Float[Tensor, " own"],
    cluster: System,
    owner: Int[Tensor, " atom"],
    home: Bool[Tensor, " atom"],
    system: System,
    velocities: Float[Tensor, "own 3"],
) -> Float[Tensor, "3"]:
    """eV Å/(Å √(amu/eV)): three moments of the energy and the energy itself, each differentiated once."""
    places = cluster.positions.detach()[home]
    moments = (energies[:, None] * places).sum(dim=0)
    everywhere = velocities[owner]
    conveyed = []
    for moment in moments:
        (slope,) = torch.autograd.grad(moment, cluster.positions, retain_graph=True)
        conveyed.append((slope * everywhere).sum())
    (slope,) = torch.autograd.grad(energies.sum(), cluster.positions)
    power = (slope * everywhere).sum(dim=1)
    local = energies.detach() + 0.5 * system.masses * (velocities**2).sum(dim=1)
    carried = (local[:, None] * velocities).sum(dim=0)
    return carried + torch.stack(conveyed) - (power[:, None] * cluster.positions.detach()).sum(dim=0)


def _unfold(system: System, reach: float) -> tuple[System, Int[Tensor, " atom"], Bool[Tensor, " atom"]]:
    """The atoms of the cell where they are and every image within `reach`; whose image each is; which are own."""
    graph = find_neighbours(system, reach)
    images = torch.cat([graph.senders[:, None], graph.shifts], dim=1)
    shifted = images[(graph.shifts != 0).any(dim=1)].unique(dim=0)
    count = system.n_atoms + len(shifted)
    if count > LARGEST:
        raise UndefinedPropertyError(
            "E-HEAT-FLUX-SIZE",
            f"the unfolded structure would have {count} atoms, limit {LARGEST}",
            why=f"the energies of atoms reach {reach:g} Å",
            fix="use a model with fewer rounds of messages or a shorter cutoff",
        )
    owner = torch.cat([torch.arange(system.n_atoms), shifted[:, 0]])
    lattice = torch.from_numpy(complete_cell(system))
    translation = torch.cat([torch.zeros(system.n_atoms, 3), shifted[:, 1:]]).to(torch.float64) @ lattice
    cluster = System.single(system.positions[owner] + translation, system.numbers[owner], masses=system.masses[owner])
    cluster = cluster.replace(charge=system.charge, multiplicity=system.multiplicity, theory=system.theory)
    return cluster, owner, torch.arange(count) < system.n_atoms


def _no_slopes() -> UndefinedPropertyError:
    return UndefinedPropertyError(
        "E-HEAT-FLUX-SLOPES",
        "the energies of this model's atoms cannot be differentiated",
        why="heat flows by the force that one atom's energy puts on another",
        fix="use a model that runs in this process and derives its forces from its energy",
    )


def _site_energies(potential: Potential, system: System) -> Float[Tensor, " atom"]:
    with torch.no_grad():
        return _partition(potential, system)


def _partition(potential: Potential, system: System) -> Float[Tensor, " atom"]:
    per_atom = potential(system, Geometry.of(system, potential.cutoff)).energy.per_atom
    if per_atom is None:
        what, why = "this potential has no partition of its energy over atoms", "heat has no place then"
        raise UndefinedPropertyError("E-PROPERTY-UNDEFINED", what, why=why)
    return per_atom


def _tolerance(potential: Potential, energies: Tensor) -> float:
    """Rounding of the model's own precision."""
    single = any(p.dtype == torch.float32 for p in potential.state_dict().values())
    return (1e-5 if single else 1e-10) * max(1.0, float(energies.abs().max()))


def green_kubo(
    flux: Float[Tensor, "frame 3"],
    interval_fs: float,
    volume: float,
    temperature_K: float,
    *,
    cutoff_fs: float | None = None,
) -> Conductivity:
    """κ = 1/(3 V k_B T²) ∫₀ ⟨J(0)·J(t)⟩ dt of a crystal in equilibrium; flux eV Å/fs, volume Å³.

    Without `cutoff_fs` the integral ends where the correlation first falls to zero (first avalanche: Chen et al., Phys.
    Lett. A 374, 2392 (2010)); what comes later is mostly noise, and what it leaves out is told by `running`. The mean
    flux is removed. The error is over five blocks at the same cutoff; in a liquid of several species the flux contains
    diffusion, and this κ is not the measured one.
    Checked: tests/simulation/test_heat.py (a flux with a known integral)
    """
    options.within("temperature_K", temperature_K, 1.0, 1e5, hint="it is in K")
    if len(flux) < 20 * BLOCKS:
        raise DataError("E-TRAJECTORY-SHORT", f"{len(flux)} fluxes are too few", fix=f"give at least {20 * BLOCKS}")
    # eV² Å² fs⁻² · fs / (Å³ · eV/K · K) → eV/(Å fs K) → W/(m K)
    unit = ELEMENTARY_CHARGE_C / 1e-10 / 1e-15
    factor = unit * interval_fs / (3 * volume * BOLTZMANN * temperature_K**2)
    lagged = _correlated(flux)
    if cutoff_fs is None:
        negative = (lagged[: len(flux) // 2] <= 0).nonzero()
        last = int(negative[0, 0]) if len(negative) else len(flux) // 2
    else:
        last = min(int(cutoff_fs / interval_fs), len(flux) - 1)
    running = factor * torch.cumulative_trapezoid(lagged, dim=0)
    running = torch.cat([running.new_zeros(1), running])
    length = len(flux) // BLOCKS
    note = ""
    if last >= length // 2:
        note = "the correlation has not died within a tenth of the trajectory; run for longer"
        last = min(last, length - 1)
    blocks = torch.stack(
        [torch.trapezoid(_correlated(flux[k * length : (k + 1) * length])[: last + 1]) for k in range(BLOCKS)]
    )
    lags = interval_fs * torch.arange(len(flux), dtype=torch.float64)
    error = factor * float(blocks.std()) / math.sqrt(BLOCKS)
    return Conductivity(float(running[last]), error, float(lags[last]), lags, running, note)


def _correlated(flux: Float[Tensor, "frame 3"]) -> Float[Tensor, " frame"]:
    return correlation(flux - flux.mean(dim=0))
