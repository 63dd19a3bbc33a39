"""Runs of molecular dynamics: start, watch, record, stop what goes wrong, resume to the last bit."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, RunError, StructureError, System, judge
from groundstate.atoms.units import FEMTOSECOND, GIGAPASCAL
from groundstate.data.files import write_whole
from groundstate.potentials import Potential
from groundstate.simulation.dynamics import integrate
from groundstate.simulation.dynamics.checkpoints import Ended, growing_files, restore, save
from groundstate.simulation.dynamics.config import MDConfig
from groundstate.simulation.dynamics.conservation import refuse_direct_forces
from groundstate.simulation.dynamics.samples import COLUMNS, Samples
from groundstate.simulation.dynamics.state import MDState
from groundstate.simulation.dynamics.velocities import kinetic_energy
from groundstate.simulation.dynamics.watchdog import LineFit, Vitals, drifting, examine
from groundstate.simulation.engine import Engine
from groundstate.simulation.frames import frame_text
from groundstate.simulation.outputs import RunFolder, identity, input_keys, run_folder
from groundstate.simulation.progress import Callback, Progress, silent
from groundstate.simulation.relaxation.relax import all_fixed, check_fixed, no_atoms
from groundstate.simulation.states import atom_rows, take

WHAT_MAY_CHANGE = ("steps", "skin", "checkpoint_every")
"""Options with which a run may be continued although they differ: more steps, and how it is computed."""


@dataclass(frozen=True, eq=False)
class MDResult:
    """How the run of one structure ended.

    status      `completed`; `stopped` by the watchdog, with the last good frame; `invalid`: refused at the door
    code, reason  why it is not completed
    system, velocities (Å/fs), energy (eV)   of the last frame · steps done · time_fs
    samples     `step, time_fs, temperature_K, potential, kinetic, total` (eV), `max_force` (eV/Å), one row per record;
                with a barostat `pressure_GPa` and `volume` (Å³); `conserved` (eV) where an ensemble keeps such a sum
    mean_temperature_K, temperature_std_K   over the samples
    strains_accepted   part of the strains tried by `npt`; `None` elsewhere
    drift_meV_per_atom_ps, scatter_meV_per_atom   slope of the conserved energy and root mean square about it: the test
                of time step and potential at constant energy, with chains and with `npt-mtk`; `None` elsewhere
    """

    index: int
    status: Literal["completed", "stopped", "invalid"]
    code: str
    reason: str
    system: System
    velocities: Float[Tensor, "atom 3"] | None
    energy: float | None
    steps: int
    time_fs: float
    samples: Mapping[str, Tensor]
    mean_temperature_K: float | None
    temperature_std_K: float | None
    drift_meV_per_atom_ps: float | None
    scatter_meV_per_atom: float | None
    strains_accepted: float | None
    notes: tuple[str, ...]
    record: Mapping[str, Any]


def run_md(
    system: System,
    potential: Potential,
    config: MDConfig,
    *,
    velocities: Float[Tensor, "atom 3"] | None = None,
    fixed_atoms: Bool[Tensor, " atom"] | None = None,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[MDResult]:
    """Molecular dynamics of every structure of a batch; one result each, in order.

    velocities  Å/fs, e.g. of an earlier result; drawn at the temperature when `None`. With `output`, the same call
    continues after an interruption from the last checkpoint, bit by bit the uninterrupted run (on one CPU and thread
    count), and a larger `steps` prolongs a finished run. Raises OptionError before anything starts, RunError for the
    folder.
    Checked: tests/simulation/test_md.py, test_md_watchdog.py, test_simulation_resume.py
    """
    fixed = no_atoms(system) if fixed_atoms is None else fixed_atoms
    check_fixed(system, fixed)
    _check_options(system, config, velocities)
    refuse_direct_forces(potential, config.ensemble, allow)
    keys = input_keys(system, fixed)
    if velocities is not None:
        keys.append(hashlib.sha256(velocities.detach().cpu().contiguous().numpy().tobytes()).hexdigest())
    resolved: dict[str, Any] = {name: value for name, value in asdict(config).items() if name not in WHAT_MAY_CHANGE}
    if config.final_temperature_K is not None:
        resolved["ramp_steps"] = config.steps
    resolved["inputs"] = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:24]
    record = identity("md", potential.fingerprint(), resolved)
    folder = nullcontext(None) if output is None else run_folder(Path(output), record)
    with folder as run:
        dynamic = _Run(system, fixed, potential, config, allow or Allowances(), record, run, progress)
        return dynamic.run(velocities)


def _check_options(system: System, config: MDConfig, velocities: Tensor | None) -> None:
    if len(config.temperatures) not in (1, system.n_systems):
        what = f"{len(config.temperatures)} temperatures were given for {system.n_systems} structures"
        raise OptionError("E-TEMPERATURE", what, fix="give one, or one for each")
    if len(config.pressures) not in (1, system.n_systems):
        what = f"{len(config.pressures)} pressures were given for {system.n_systems} structures"
        raise OptionError("E-PRESSURE", what, fix="give one, or one for each")
    if velocities is not None and (
        velocities.shape != system.positions.shape or not bool(torch.isfinite(velocities).all())
    ):
        what = f"velocities must be finite and of shape {tuple(system.positions.shape)}"
        raise OptionError("E-VELOCITIES", what, fix="give Å/fs for every atom, or none to draw them")
    rescales = config.facts.thermostat and not config.facts.drifts
    if velocities is not None and rescales and bool((kinetic_energy(system, velocities) == 0).any()):
        what, why = "a structure was given with all its velocities zero", "this bath rescales what is there"
        raise OptionError("E-VELOCITIES", what, why=why, fix="draw them (give none), or use ensemble='langevin'")


class _Run:
    """The batch under way, its samples and what has ended."""

    def __init__(
        self,
        system: System,
        fixed: Bool[Tensor, " atom"],
        potential: Potential,
        config: MDConfig,
        allow: Allowances,
        record: Mapping[str, Any],
        folder: RunFolder | None,
        progress: Callback,
    ) -> None:
        self.system, self.fixed, self.config, self.allow = system, fixed, config, allow
        self.record, self.folder, self.progress = record, folder, progress
        self.domain = potential.domain
        self.engine = Engine(potential, config.skin)
        self.samples: dict[int, Samples] = {}
        self.energy_lines: dict[int, LineFit] = {}
        self.first_energy: dict[int, float] = {}
        self.ended: dict[int, Ended] = {}
        self.pending: defaultdict[str, list[str]] = defaultdict(list)
        self.notes: dict[int, tuple[str, ...]] = {}
        self.invalid: dict[int, GroundstateError] = {}

    def run(self, velocities: Tensor | None) -> list[MDResult]:
        alive = self._admit()
        state = self._start(alive, velocities)
        while state is not None and state.step < self.config.steps:
            self.progress(Progress(state.step, self.config.steps, "steps", self._message(state)))
            moved, errors = integrate.step(state, self.engine, self.config)
            state = self._watch(state, moved, errors)
            if state is None or state.step % self.config.checkpoint_every == 0 or state.step == self.config.steps:
                self._checkpoint(state)
        if state is not None:
            self._complete(state)
        self.progress(Progress(self.config.steps, self.config.steps, "steps"))
        return [self._result(i) for i in range(self.system.n_systems)]

    def _admit(self) -> list[int]:
        held = self.fixed.split(self.system.atoms_per_system.tolist())
        for i, verdict in enumerate(judge(self.system, self.domain, self.allow)):
            self.notes[i] = tuple(verdict.notes)
            if problems := verdict.problems or self._cannot_move(self.system[i], held[i]):
                self.invalid[i] = problems[0]
        return [i for i in range(self.system.n_systems) if i not in self.invalid]

    def _cannot_move(self, single: System, fixed: Bool[Tensor, " atom"]) -> list[StructureError]:
        if bool(fixed.all()):
            return [all_fixed()]
        if not self.config.facts.drifts and single.n_atoms == 1:
            what, why = "one atom alone keeps its velocity", "without its drift nothing is left to move"
            return [StructureError("E-ONE-ATOM", what, why=why, fix="use ensemble='langevin', or more atoms")]
        return _no_pressure(single, fixed) if self.config.facts.barostat else []

    def _start(self, alive: Sequence[int], velocities: Tensor | None) -> MDState | None:
        """The state of the last checkpoint, or a computed first one, already recorded."""
        if not alive:
            return None
        if velocities is not None:
            velocities = velocities[atom_rows(self.system, alive)] / FEMTOSECOND
        index = torch.tensor(alive, device=self.system.device)
        fixed = self.fixed[atom_rows(self.system, alive)]
        first = integrate.init(self.system.select(alive), fixed, index, self.config, velocities)
        if self.folder is not None and (saved := restore(self.folder, first)) is not None:
            return self._resume(*saved)
        self._rewind({})
        state, errors = integrate.compute(first, self.engine, strained=self.config.facts.barostat)
        self.first_energy = dict(zip(alive, integrate.conserved(state, self.config).tolist(), strict=True))
        self.samples = {i: Samples(self.config.facts.columns) for i in alive}
        self.energy_lines = {i: LineFit() for i in alive}
        running = self._watch(state, state, errors)
        if self.folder is not None:
            self._checkpoint(running)
        return running

    def _resume(self, state: MDState | None, ended: dict[int, Ended], sizes: Mapping[str, int]) -> MDState | None:
        assert self.folder is not None, "only a run with a folder is resumed"
        self.ended = ended
        done = max([one.step for one in ended.values()], default=0) if state is None else state.step
        if done > self.config.steps:
            what = f"{self.folder.path} already holds {done} steps, {self.config.steps} were asked"
            raise RunError("E-RUN-MISMATCH", what, fix="ask for at least as many steps, or give another folder")
        self._rewind(sizes)
        going = [] if state is None else state.index.tolist()
        for i in [*going, *ended]:
            self.samples[i] = Samples.read(self.folder.path / _file("samples", i, "jsonl"), self.config.facts.columns)
            self.first_energy[i] = self.samples[i].first(self._judged)
            self.energy_lines[i] = LineFit()
            table = self.samples[i].columns()
            for time, energy in zip(table["time_fs"].tolist(), table[self._judged].tolist(), strict=True):
                self.energy_lines[i].add(time * 1e-3, energy)
        return state

    def _rewind(self, sizes: Mapping[str, int]) -> None:
        """Forget what was written after the checkpoint."""
        if self.folder is not None:
            for path in growing_files(self.folder):
                self.folder.truncate(path.name, sizes.get(path.name, 0))

    def _watch(self, before: MDState, now: MDState, errors: Mapping[int, GroundstateError]) -> MDState | None:
        """Record the new state; structures that breach a limit end with the frame before and leave."""
        isolated = self.config.closed
        index = now.index.tolist()
        limits = self.config.watchdog
        total = integrate.conserved(now, self.config)
        growth = self._growth(now)
        vitals = Vitals(total, now.temperature, now.target, now.max_force, growth)
        start = torch.tensor([self.first_energy[i] for i in index], dtype=torch.float64, device=now.energy.device)
        contact = None if self.allow.close_atoms else self.engine.latest
        stops = examine(now.system, vitals, contact, limits, start if isolated else None, errors)
        if now.step % self.config.record_every == 0:
            stops |= {s: stop for s, stop in self._sample(now, vitals, stops).items() if isolated}
        for s, stop in stops.items():
            self._end(before, s, "stopped", stop, now.step)
        if stops:
            left = [s for s in range(len(index)) if s not in stops]
            self.engine.select(left)
            if not left:
                return None
            now = take(now, now.system, left)
        if now.step % self.config.trajectory_every == 0 and self.folder is not None:
            for s, i in enumerate(now.index.tolist()):
                self.pending[_file("trajectory", i, "extxyz")].append(self._frame_text(now, s))
        return now

    def _sample(self, now: MDState, vitals: Vitals, stops: Mapping[int, RunError]) -> dict[int, RunError]:
        time = now.step * self.config.timestep_fs
        known = {
            "pressure_GPa": now.internal_pressure / GIGAPASCAL,
            "volume": now.system.volume,
            "conserved": vitals.total,
        }
        columns = [vitals.temperature, now.energy, now.kinetic, now.energy + now.kinetic, vitals.max_force]
        columns += [known[name] for name in self.config.facts.columns]
        sizes, drifts = now.system.atoms_per_system.tolist(), {}
        energies = vitals.total.tolist()
        for s, (i, values) in enumerate(zip(now.index.tolist(), torch.stack(columns, 1).tolist(), strict=True)):
            if s in stops:
                continue
            row = (float(now.step), time, *values)
            self.pending[_file("samples", i, "jsonl")].append(self.samples[i].add(row))
            self.energy_lines[i].add(time * 1e-3, energies[s])
            if stop := drifting(self.energy_lines[i], time * 1e-3, sizes[s], self.config.watchdog):
                drifts[s] = stop
        return drifts

    @property
    def _judged(self) -> str:
        """The column of the energy whose drift is watched."""
        return "conserved" if "conserved" in self.config.facts.columns else "total"

    def _growth(self, now: MDState) -> Float[Tensor, " system"]:
        """Volume over the one the run began with; 1 where the cell is not touched."""
        if not self.config.facts.barostat:
            return torch.ones_like(now.energy)
        return now.system.volume / self.system.volume[now.index]

    def _end(self, state: MDState, s: int, status: str, stop: RunError | None = None, at: int = 0) -> None:
        one, i = take(state, state.system, [s]), int(state.index[s])
        code, reason = ("", "") if stop is None else (stop.code, f"step {at}: {stop.what}")
        if stop is not None and stop.atoms:
            reason += f" (atoms {stop.atoms[0]} and {stop.atoms[-1]})"
        self.ended[i] = Ended(one, status, code, reason)
        if stop is not None and self.folder is not None:
            text = self._frame_text(state, s, cause=code, reason=reason)
            write_whole(self.folder.path / _file("stopped", i, "extxyz"), text.encode())

    def _complete(self, state: MDState) -> None:
        for s in range(len(state.index)):
            self._end(state, s, "completed")

    def _frame_text(self, state: MDState, s: int, **causes: str) -> str:
        one = take(state, state.system, [s])
        facts = {"step": state.step, "time_fs": state.step * self.config.timestep_fs, "model": self.record["potential"]}
        columns = {"velocities": one.velocities * FEMTOSECOND}
        # Only a structure that fails at its very first evaluation has no number to show.
        if bool(torch.isfinite(one.energy).all() and torch.isfinite(one.forces).all()):
            facts["energy"] = float(one.energy[0])
            columns["forces"] = one.forces
        return frame_text(one.system, columns, facts | causes)

    def _checkpoint(self, state: MDState | None) -> None:
        if self.folder is None:
            return
        for name, texts in self.pending.items():
            self.folder.append(name, "".join(texts))
        self.pending.clear()
        save(self.folder, state, self.ended)

    def _message(self, state: MDState) -> str:
        return f"{len(state.index)} moving, {float(state.temperature.mean()):.0f} K"

    def _result(self, i: int) -> MDResult:
        if i in self.invalid:
            problem = self.invalid[i]
            measured = ("mean_temperature_K", "temperature_std_K", "drift_meV_per_atom_ps", "scatter_meV_per_atom")
            nothing = dict.fromkeys(("velocities", "energy", "strains_accepted", *measured))
            return MDResult(
                index=i,
                status="invalid",
                code=problem.code,
                reason=str(problem),
                system=self.system[i],
                steps=0,
                time_fs=0.0,
                samples={},
                notes=self.notes[i],
                record=self.record,
                **nothing,
            )
        end, line, samples = self.ended[i], self.energy_lines[i], self.samples[i].columns()
        kelvin = samples[COLUMNS[2]]
        conserved = self.config.closed and line.n > 1
        per_atom = 1e3 / end.state.system.n_atoms
        computed = bool(torch.isfinite(end.state.energy).all())
        tried = math.ceil(end.step / self.config.barostat_every) if self.config.ensemble == "npt" else 0
        return MDResult(
            index=i,
            status=end.status,  # type: ignore[arg-type]
            code=end.code,
            reason=end.reason,
            system=end.state.system,
            velocities=end.state.velocities * FEMTOSECOND,
            energy=float(end.state.energy[0]) if computed else None,
            steps=end.step,
            time_fs=end.step * self.config.timestep_fs,
            samples=samples,
            mean_temperature_K=float(kelvin.mean()) if len(kelvin) else None,
            temperature_std_K=float(kelvin.std()) if len(kelvin) > 1 else None,
            drift_meV_per_atom_ps=per_atom * line.slope if conserved else None,
            scatter_meV_per_atom=per_atom * line.scatter if conserved else None,
            strains_accepted=float(end.state.bath.strains[0]) / tried if tried else None,
            notes=self.notes[i],
            record=self.record,
        )


def _no_pressure(single: System, fixed: Bool[Tensor, " atom"]) -> list[StructureError]:
    """Why a barostat cannot act on this structure."""
    if not bool(single.pbc.all()):
        what, why = "a pressure needs three periodic directions", "the vacuum of a slab or molecule would be squeezed"
        return [StructureError("E-NPT-PERIODS", what, why=why, fix="use an ensemble without a barostat")]
    if bool(fixed.any()):
        what, why = "atoms are held fixed under a barostat", "the cell would move them, or deform around them"
        return [StructureError("E-NPT-FIXED", what, why=why, fix="free them, or use an ensemble without a barostat")]
    return []


def _file(kind: str, index: int, ending: str) -> str:
    return f"{kind}_{index:05d}.{ending}"
