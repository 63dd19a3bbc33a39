"""How structures move: the options of molecular dynamics, and what each ensemble is."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.atoms import OptionError
from groundstate.atoms.units import GIGAPASCAL
from groundstate.simulation import options
from groundstate.simulation.dynamics.watchdog import Watchdog


@dataclass(frozen=True)
class Ensemble:
    """What an ensemble fixes and conserves.

    thermostat, barostat   whether temperature and pressure are given from outside
    drifts      whether the total momentum is free: Langevin's noise acts on it, everything else keeps it at zero
    closed      whether one quantity stays constant but for the error of the time step, so that its drift judges a run
    columns     recorded beside those of every run; `conserved` is eV, `volume` Å³
    """

    thermostat: bool = True
    barostat: bool = False
    drifts: bool = False
    closed: bool = False
    columns: tuple[str, ...] = ("conserved",)


ENSEMBLES = {
    "nve": Ensemble(thermostat=False, closed=True, columns=()),
    "langevin": Ensemble(drifts=True, columns=()),
    "csvr": Ensemble(),
    "nose-hoover": Ensemble(closed=True),
    "npt": Ensemble(barostat=True, columns=("pressure_GPa", "volume", "conserved")),
    "npt-mtk": Ensemble(barostat=True, closed=True, columns=("pressure_GPa", "volume", "conserved")),
}
CELLS = ("isotropic", "full")


@dataclass(frozen=True)
class MDConfig:
    """How structures move.

    ensemble           `nve`: constant energy, velocity Verlet
                       `langevin`: constant temperature, BAOAB · `csvr`: stochastic velocity rescaling, which leaves
                       diffusion nearly alone · `nose-hoover`: chains, deterministic and time reversible
                       `npt`: constant temperature and pressure, stochastic cell rescaling with `csvr`; sturdy far from
                       equilibrium · `npt-mtk`: Martyna–Tobias–Klein with chains, deterministic
    steps, timestep_fs   fs, not ps; 1 for most solids, 0.5 with hydrogen
    temperature_K      of the initial velocities and of the thermostat; one number, or one per structure
    final_temperature_K   the thermostat goes there linearly over `steps`: annealing, quenching
    friction_per_ps    of `langevin`; small for dynamics, larger for fast equilibration
    thermostat_fs      relaxation time of `csvr` and of the chains
    pressure_GPa       positive compresses; one number, or one per structure
    cell               of `npt`, `npt-mtk`: `isotropic` keeps its shape (liquids, cubic crystals), `full` lets all go
    barostat_fs        relaxation time of the volume
    compressibility_per_GPa   a guess, which with `barostat_fs` sets the pace of `npt` and no average: 0.45 water, 0.01
                       a solid of 100 GPa
    seed               structure i of the batch draws from the seed `seed + i`
    remove_rotation    of molecules, at the start, besides the drift that all but `langevin` remove
    record_every, trajectory_every, checkpoint_every   steps between samples, frames on disk, and points to resume from
    skin               Å, as in RelaxConfig · watchdog   what stops a structure
    """

    steps: int
    timestep_fs: float
    temperature_K: float | tuple[float, ...]
    ensemble: str = "nve"
    final_temperature_K: float | None = None
    friction_per_ps: float = 1.0
    thermostat_fs: float = 100.0
    pressure_GPa: float | tuple[float, ...] = 0.0
    cell: str = "isotropic"
    barostat_fs: float = 1000.0
    compressibility_per_GPa: float = 0.01
    seed: int = 0
    remove_rotation: bool = False
    record_every: int = 10
    trajectory_every: int = 100
    checkpoint_every: int = 1000
    skin: float = 1.0
    watchdog: Watchdog = field(default_factory=Watchdog)

    def __post_init__(self) -> None:
        options.one_of("ensemble", self.ensemble, tuple(ENSEMBLES))
        options.one_of("cell", self.cell, CELLS)
        for name in ("steps", "record_every", "trajectory_every", "checkpoint_every"):
            options.whole(name, getattr(self, name), 1)
        options.whole("seed", self.seed, 0)
        hint = "it is in fs: 1 is usual, 0.5 with hydrogen; a value in ps is a thousand times too small"
        options.within("timestep_fs", self.timestep_fs, 0.01, 20.0, code="E-TIMESTEP", hint=hint)
        self._check_bath()
        options.within("skin", self.skin, 0.0, 5.0, hint="it is in Å")

    def _check_bath(self) -> None:
        final = () if self.final_temperature_K is None else (float(self.final_temperature_K),)
        for kelvin in (*self.temperatures, *final):
            options.within(
                "temperature_K", kelvin, 0.0, 1e5, code="E-TEMPERATURE", hint="it is in K; 0.025 eV is 290 K"
            )
            if self.facts.thermostat and kelvin < 1.0:
                raise OptionError(
                    "E-TEMPERATURE",
                    f"a thermostat was set to {kelvin:g} K",
                    why="classical motion has no meaning there, and 0 K is a relaxation",
                    fix="it is in K, not eV (0.025 eV is 290 K); to cool to rest, relax",
                )
        if final and not self.facts.thermostat:
            what, fix = f"final_temperature_K with ensemble='{self.ensemble}'", "choose an ensemble with a thermostat"
            raise OptionError("E-TEMPERATURE", what, why="nothing would change the temperature", fix=fix)
        if not self.facts.barostat and any(pressure != 0 for pressure in self.pressures):
            what, fix = f"pressure_GPa with ensemble='{self.ensemble}'", "choose ensemble='npt' or 'npt-mtk'"
            raise OptionError("E-PRESSURE", what, why="the cell would not answer it", fix=fix)
        for pressure in self.pressures:
            options.within("pressure_GPa", pressure, -1e3, 1e4, code="E-PRESSURE", hint="it is in GPa; 1 bar is 1e-4")
        options.within("friction_per_ps", self.friction_per_ps, 1e-4, 1e3, hint="it is in 1/ps; 0.1 to 10 is usual")
        for name in ("thermostat_fs", "barostat_fs"):
            low, hint = 5 * self.timestep_fs, "it is in fs, and a bath faster than five time steps is not integrated"
            options.within(name, getattr(self, name), low, 1e6, hint=hint)
        hint = "it is in 1/GPa: 0.45 for water, 0.01 for a solid whose bulk modulus is 100 GPa"
        options.within("compressibility_per_GPa", self.compressibility_per_GPa, 1e-5, 1e4, hint=hint)

    @property
    def facts(self) -> Ensemble:
        """What the chosen ensemble is."""
        return ENSEMBLES[self.ensemble]

    @property
    def closed(self) -> bool:
        """Whether a quantity is conserved; not while the temperature is changed from outside."""
        return self.facts.closed and self.final_temperature_K is None

    @property
    def barostat_every(self) -> int:
        """Steps between the strains of `npt`, each of which costs an evaluation: 1/50 of `barostat_fs`, at most 10."""
        return min(max(round(self.barostat_fs / self.timestep_fs / 50), 1), 10)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """One, or one per structure."""
        return _each(self.temperature_K)

    @property
    def pressures(self) -> tuple[float, ...]:
        """One, or one per structure, GPa."""
        return _each(self.pressure_GPa)

    def target(self, index: Int[Tensor, " system"], step: int) -> Float[Tensor, " system"]:
        """Temperature of the bath of each structure at a step, K."""
        start = _of(self.temperatures, index)
        if self.final_temperature_K is None:
            return start
        return start + (self.final_temperature_K - start) * min(step / self.steps, 1.0)

    def pressure(self, index: Int[Tensor, " system"]) -> Float[Tensor, " system"]:
        """External pressure on each structure, eV/Å³."""
        return _of(self.pressures, index) * GIGAPASCAL


def _each(given: float | tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(value) for value in given) if isinstance(given, tuple) else (float(given),)


def _of(values: tuple[float, ...], index: Int[Tensor, " system"]) -> Float[Tensor, " system"]:
    table = torch.tensor(values, dtype=torch.float64, device=index.device)
    return table.expand(len(index)).clone() if len(table) == 1 else table[index]
