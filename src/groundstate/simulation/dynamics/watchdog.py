"""What stops a structure in motion before it produces nonsense: heat, forces, contact, energy that is not conserved."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Graph, GroundstateError, RunError, System
from groundstate.atoms.contract import CLOSEST
from groundstate.atoms.elements import periodic_table, symbols
from groundstate.simulation import options

ENERGY_JUMP = 1.0
"""eV per atom the total energy of an isolated structure never changes by."""


@dataclass(frozen=True)
class Watchdog:
    """Limits of a run, checked every step.

    max_temperature_K   `None`: the larger of 5000 K and ten times the target
    max_force           eV/Å
    max_drift_meV_per_atom_ps   slope of the conserved energy where there is one, judged after `drift_after_ps`
    max_volume_ratio    to the start or its inverse, with a barostat
    """

    max_temperature_K: float | None = None
    max_force: float = 300.0
    max_drift_meV_per_atom_ps: float = 20.0
    drift_after_ps: float = 1.0
    max_volume_ratio: float = 2.0

    def __post_init__(self) -> None:
        if self.max_temperature_K is not None:
            options.within("max_temperature_K", self.max_temperature_K, 1.0, 1e6, hint="it is in K")
        options.within("max_force", self.max_force, 0.1, 1e5, hint="it is in eV/Å")
        options.within("max_drift_meV_per_atom_ps", self.max_drift_meV_per_atom_ps, 1e-9, 1e6)
        options.within("max_volume_ratio", self.max_volume_ratio, 1.001, 1e9)
        options.within("drift_after_ps", self.drift_after_ps, 1e-3, 1e6, hint="it is in ps")


class LineFit:
    """Least-squares line through (x, y) added one by one; its slope and the scatter about it."""

    def __init__(self) -> None:
        self.n = 0
        self._x = self._y = self._xx = self._xy = self._yy = 0.0

    def add(self, x: float, y: float) -> None:
        """One point, by Welford's update, which loses no digits to a large mean."""
        self.n += 1
        before_x, before_y = x - self._x, y - self._y
        self._x += before_x / self.n
        self._y += before_y / self.n
        self._xx += before_x * (x - self._x)
        self._xy += before_x * (y - self._y)
        self._yy += before_y * (y - self._y)

    @property
    def slope(self) -> float:
        """0 with fewer than two points."""
        return self._xy / self._xx if self._xx > 0 else 0.0

    @property
    def scatter(self) -> float:
        """Root mean square distance from the line."""
        return math.sqrt(max(self._yy - self.slope * self._xy, 0.0) / self.n) if self.n else 0.0


@dataclass(frozen=True, eq=False)
class Vitals:
    """What the watchdog looks at: total (or conserved) energy eV, temperature and its target K, largest force eV/Å,

    and the volume over the one at the start.
    """

    total: Float[Tensor, " system"]
    temperature: Float[Tensor, " system"]
    target: Float[Tensor, " system"]
    max_force: Float[Tensor, " system"]
    volume_ratio: Float[Tensor, " system"]


def examine(
    system: System,
    vitals: Vitals,
    graph: Graph | None,
    limits: Watchdog,
    first_energy: Float[Tensor, " system"] | None,
    errors: Mapping[int, GroundstateError],
) -> dict[int, RunError]:
    """Structures that must stop, and why, by their row. `first_energy` (eV) is given at constant energy."""
    found: dict[int, RunError] = {}
    finite = torch.isfinite(vitals.total + vitals.max_force).tolist()
    energies, measured = vitals.total.tolist(), vitals.temperature.tolist()
    target, forces, sizes = vitals.target.tolist(), vitals.max_force.tolist(), system.atoms_per_system.tolist()
    ratios = vitals.volume_ratio.tolist()
    contacts = {} if graph is None else _contacts(system, graph)
    for s in range(len(measured)):
        hottest = limits.max_temperature_K or max(5000.0, 10 * target[s])
        jump = 0.0 if first_energy is None else abs(energies[s] - float(first_energy[s])) / sizes[s]
        if s in errors:
            found[s] = _stop(errors[s].code, errors[s].what)
        elif not finite[s]:
            found[s] = _stop("E-RESULT-NOT-FINITE", "energy or forces are not finite")
        elif s in contacts:
            found[s] = contacts[s]
        elif forces[s] > limits.max_force:
            found[s] = _stop("E-MD-FORCE", f"a force reached {forces[s]:.4g} eV/Å, limit {limits.max_force:g}")
        elif measured[s] > hottest:
            found[s] = _stop("E-MD-HOT", f"the temperature reached {measured[s]:.5g} K, limit {hottest:g} K")
        elif not 1 / limits.max_volume_ratio <= ratios[s] <= limits.max_volume_ratio:
            what = f"the volume became {ratios[s]:.3g} times the first, limit 1/{limits.max_volume_ratio:g} … "
            found[s] = _stop("E-MD-VOLUME", what + f"{limits.max_volume_ratio:g}")
        elif jump > ENERGY_JUMP:
            found[s] = _stop("E-MD-ENERGY", f"the total energy changed by {jump:.3g} eV per atom")
    return found


def drifting(fit: LineFit, time_ps: float, n_atoms: int, limits: Watchdog) -> RunError | None:
    """Whether the line through the total energy (eV over ps) is steeper than allowed."""
    slope = 1e3 * fit.slope / n_atoms
    if time_ps < limits.drift_after_ps or abs(slope) <= limits.max_drift_meV_per_atom_ps:
        return None
    what = f"the total energy drifts by {slope:.3g} meV/atom/ps, limit {limits.max_drift_meV_per_atom_ps:g}"
    return _stop("E-MD-DRIFT", what)


def _contacts(system: System, graph: Graph) -> dict[int, RunError]:
    """Structures with a pair closer than the contract allows."""
    if graph.n_edges == 0:
        return {}
    table = torch.tensor([0.0, *(row.covalent_radius for row in periodic_table())], dtype=torch.float64)
    radius = table.to(system.device)[system.numbers]
    i, j, owner = graph.receivers, graph.senders, system.system_index
    translations = torch.einsum("ek,ekd->ed", graph.shifts.to(torch.float64), system.cell[owner[i]])
    squared = ((system.positions[j] - system.positions[i] + translations) ** 2).sum(dim=1)
    close = (squared < (CLOSEST * (radius[i] + radius[j])) ** 2).nonzero()[:, 0].tolist()
    found = {}
    for e in reversed(close):
        s = int(owner[i[e]])
        first = int(system.system_ptr[s])
        pair = [int(i[e]), int(j[e])]
        names = "–".join(symbols(system.numbers[pair].tolist()))
        what = f"two atoms came closer than any known bond: {names} {float(squared[e]) ** 0.5:.3f} Å"
        found[s] = _stop("E-ATOMS-CLOSE", what, [atom - first for atom in pair])
    return found


def _stop(code: str, what: str, atoms: list[int] | None = None) -> RunError:
    fix = "look at the last good frame; a shorter timestep_fs, a relaxed start or a better model is usually the answer"
    return RunError(code, what, why="what follows would not be physics", fix=fix, atoms=atoms or ())
