"""Saddle points from one side: many dimers as one batch, an honest end for each."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, System, judge
from groundstate.potentials import Potential
from groundstate.simulation import options
from groundstate.simulation.engine import Engine
from groundstate.simulation.evaluation import computed, packed
from groundstate.simulation.frames import frame_text, read_frame
from groundstate.simulation.outputs import RunFolder, identity, input_keys, run_folder
from groundstate.simulation.paths import dimer
from groundstate.simulation.paths.dimer import DimerState, Turning
from groundstate.simulation.paths.modes import lowest_modes
from groundstate.simulation.progress import Callback, Progress, silent
from groundstate.simulation.relaxation.relax import all_fixed, check_fixed, no_atoms
from groundstate.simulation.states import atom_rows, join, take

Status = Literal["converged", "max_steps", "diverged", "invalid"]
HOW_COMPUTED = ("skin", "max_atoms_per_batch")


@dataclass(frozen=True)
class SaddleConfig:
    """How saddle points are searched.

    force_tolerance   eV/Å; converged when the largest force on a free atom is below it and the curvature along the
                      mode is negative
    max_steps         translations before a search ends as `max_steps`
    rotations         most turns of the dimer at each step · torque_tolerance eV/Å² below which it does not turn
    max_rise          eV above the start at which a search is lost: it climbs away from every saddle
    displacement      Å; how far the start is pushed along the mode before the search, 0: not at all
    seed              of the random modes, where none is given
    verify            count the negative modes of each converged saddle
    max_step Å · skin Å of neighbour lists · max_atoms_per_batch computed together
    """

    force_tolerance: float = 0.02
    max_steps: int = 500
    rotations: int = 3
    torque_tolerance: float = 0.1
    max_rise: float = 20.0
    displacement: float = 0.1
    seed: int = 0
    verify: bool = True
    max_step: float = 0.1
    skin: float = 1.0
    max_atoms_per_batch: int | None = 2048

    def __post_init__(self) -> None:
        options.within("force_tolerance", self.force_tolerance, 1e-8, 10.0, hint="it is in eV/Å; 0.02 is usual")
        options.whole("max_steps", self.max_steps, 1)
        options.whole("rotations", self.rotations, 1)
        options.within("torque_tolerance", self.torque_tolerance, 1e-8, 100.0, hint="it is in eV/Å²")
        options.within("max_rise", self.max_rise, 1e-3, 1e4, hint="it is in eV")
        options.within("displacement", self.displacement, 0.0, 2.0, hint="it is in Å")
        options.whole("seed", self.seed, 0)
        options.within("max_step", self.max_step, 1e-4, 1.0, hint="it is in Å")
        options.within("skin", self.skin, 0.0, 5.0, hint="it is in Å")
        if self.max_atoms_per_batch is not None:
            options.whole("max_atoms_per_batch", self.max_atoms_per_batch, 1)


@dataclass(frozen=True, eq=False)
class SaddleResult:
    """How the search from one start ended.

    status      `converged`; `max_steps`: the last point; `diverged`: refused or not finite on the way; `invalid`:
                refused at the door
    system      that point · energy eV · barrier E(saddle) − E(start), eV; of a start that is no minimum it means little
    mode        unit vector over all atoms along which the energy falls · curvature along it, eV/Å²
    negative    number of negative modes, when asked · max_force eV/Å · steps, rotations spent
    """

    index: int
    status: Status
    code: str
    reason: str
    system: System
    energy: float | None
    barrier: float | None
    mode: Float[Tensor, "atom 3"] | None
    curvature: float | None
    max_force: float | None
    negative: int | None
    steps: int
    rotations: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    record: Mapping[str, Any]

    @property
    def converged(self) -> bool:
        """Whether this is a stationary point with negative curvature along the mode."""
        return self.status == "converged"


_NUMBERS = ("status", "code", "reason", "energy", "barrier", "curvature", "max_force", "negative", "steps", "rotations")


def find_saddles(
    system: System,
    potential: Potential,
    config: SaddleConfig | None = None,
    *,
    modes: Float[Tensor, "atom 3"] | None = None,
    fixed_atoms: Bool[Tensor, " atom"] | None = None,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[SaddleResult]:
    """A saddle point near each structure of a batch by the dimer method; one result each, in order.

    modes  first direction of each search, any length; random where `None`. Random searches find different saddles: give
    the structure several times. With `output` each result is on disk when it is finished, and the same call continues
    with the others.
    Checked: tests/simulation/test_saddle.py (Müller–Brown, the barrier of an elastic band, batch = singles)
    """
    config = config or SaddleConfig()
    fixed = no_atoms(system) if fixed_atoms is None else fixed_atoms
    check_fixed(system, fixed)
    if modes is not None and (modes.shape != system.positions.shape or not bool(torch.isfinite(modes).all())):
        what = f"modes must be finite and of shape {tuple(system.positions.shape)}"
        raise OptionError("E-MODES", what, fix="give a direction for every atom, or none to draw them")
    generator = torch.Generator().manual_seed(config.seed)
    drawn = torch.randn(system.n_atoms, 3, generator=generator, dtype=torch.float64).to(system.device)
    resolved: dict[str, Any] = {name: value for name, value in asdict(config).items() if name not in HOW_COMPUTED}
    resolved["modes"] = "random" if modes is None else "given"
    record = identity("saddle", potential.fingerprint(), resolved)
    folder = nullcontext(None) if output is None else run_folder(Path(output), record)
    with folder as run:
        search = _Searches(system, fixed, potential, config, allow or Allowances(), record, run, progress)
        return search.run(drawn if modes is None else modes.to(torch.float64))


class _Searches:
    """The searches of one call."""

    def __init__(
        self,
        system: System,
        fixed: Bool[Tensor, " atom"],
        potential: Potential,
        config: SaddleConfig,
        allow: Allowances,
        record: Mapping[str, Any],
        folder: RunFolder | None,
        progress: Callback,
    ) -> None:
        self.system, self.fixed, self.potential, self.config, self.allow = system, fixed, potential, config, allow
        self.record, self.folder, self.progress = record, folder, progress
        self.notes: dict[int, tuple[str, ...]] = {}
        self.first_energy: dict[int, float] = {}
        self.results: dict[int, SaddleResult] = {}

    def run(self, modes: Tensor) -> list[SaddleResult]:
        # Two searches from one structure differ in their mode, which is part of the key.
        keyed = self.system.replace(moments=modes)
        self.keys = input_keys(keyed, self.fixed)
        waiting = self._admit()
        sizes = [int(self.system.atoms_per_system[i]) for i in waiting]
        for group in packed(waiting, sizes, self.config.max_atoms_per_batch):
            if begun := self._begun(group, modes):
                self._run_together(begun)
        return [self.results[i] for i in range(self.system.n_systems)]

    def _admit(self) -> list[int]:
        done = {} if self.folder is None else {line["key"]: line for line in self.folder.lines}
        held = self.fixed.split(self.system.atoms_per_system.tolist())
        waiting = []
        for i, verdict in enumerate(judge(self.system, self.potential.domain, self.allow)):
            self.notes[i] = tuple(verdict.notes)
            problems = verdict.problems or ([all_fixed()] if bool(held[i].all()) else [])
            if self.keys[i] in done:
                self.results[i] = self._restored(i, done[self.keys[i]])
            elif problems:
                self._refuse(i, problems[0])
            else:
                waiting.append(i)
        return waiting

    def _begun(self, group: list[int], modes: Tensor) -> DimerState | None:
        """States pushed off their starts; a start the potential refuses is left out."""
        begun = []
        for i in group:
            single, rows = self.system[i], atom_rows(self.system, [i])
            try:
                energy = computed(single, self.potential, None, ("energy",))["energy"]
            except GroundstateError as error:
                self._refuse(i, error)
                continue
            self.first_energy[i] = float(energy[0])
            index = torch.tensor([i], device=single.device)
            first = dimer.init(single, self.fixed[rows], index, modes[rows], self.config.max_step)
            push = self.config.displacement * first.mode
            begun.append(dimer.init(single.replace(positions=single.positions + push), self.fixed[rows], index,
                                    modes[rows], self.config.max_step))  # fmt: skip
        return join(begun) if begun else None

    def _run_together(self, begun: DimerState) -> None:
        state: DimerState | None = begun
        engine = Engine(self.potential, self.config.skin)
        turning = Turning(self.config.rotations, self.config.torque_tolerance)
        while state is not None:
            state, errors = dimer.step(state, engine, turning)
            ended = self._ended(state, errors)
            for s, (status, code, reason) in ended.items():
                self._finish(take(state, state.system, [s]), status, code, reason)
            if ended:
                left = [s for s in range(len(state.steps)) if s not in ended]
                engine.select(left)
                state = take(state, state.system, left) if left else None
            message = "" if state is None else f"{len(state.steps)} under way, force {float(state.residual.max()):.2g}"
            self.progress(Progress(len(self.results), self.system.n_systems, "searches", message))

    def _ended(self, state: DimerState, errors: Mapping[int, GroundstateError]) -> dict[int, tuple[Status, str, str]]:
        found = dict[int, tuple[Status, str, str]]()
        index, energy, steps_done = state.index.tolist(), state.energy.tolist(), state.steps.tolist()
        for s, (residual, curvature, steps) in enumerate(
            zip(state.residual.tolist(), state.curvature.tolist(), steps_done, strict=True)
        ):
            if s in errors:
                found[s] = "diverged", errors[s].code, errors[s].what
            elif not abs(residual + curvature + energy[s]) < float("inf"):
                found[s] = "diverged", "E-RESULT-NOT-FINITE", f"energy or forces were not finite at step {steps}"
            elif residual <= self.config.force_tolerance and curvature < 0:
                problems = judge(state.system[s], self.potential.domain, self.allow)[0].problems
                found[s] = ("diverged", problems[0].code, problems[0].what) if problems else ("converged", "", "")
            elif energy[s] - self.first_energy[index[s]] > self.config.max_rise:
                rise = f"the energy rose {energy[s] - self.first_energy[index[s]]:.3g} eV above the start"
                found[s] = "diverged", "E-SADDLE-LOST", f"{rise}: the search climbs away, start nearer to the saddle"
            elif steps >= self.config.max_steps:
                reason = (
                    f"largest force {residual:.3g} eV/Å, curvature {curvature:.3g} eV/Å² after {steps} steps, tolerance"
                    f" {self.config.force_tolerance:g} eV/Å"
                )
                found[s] = "max_steps", "E-SADDLE-STEPS", reason
        return found

    def _finish(self, one: DimerState, status: Status, code: str, reason: str) -> None:
        i = int(one.index[0])
        sound = bool(torch.isfinite(one.energy + one.residual + one.curvature).all())
        negative, warnings = None, []
        if status == "converged" and self.config.verify:
            modes = lowest_modes(
                self.potential, one.system, one.fixed, max_atoms_per_batch=self.config.max_atoms_per_batch
            )
            negative = modes.negative
            if negative != 1:
                warnings.append(f"the point has {negative} negative modes, a saddle has one")
        self._keep(
            SaddleResult(
                index=i,
                status=status,
                code=code,
                reason=reason,
                system=one.system,
                energy=float(one.energy[0]) if sound else None,
                barrier=float(one.energy[0]) - self.first_energy[i] if sound else None,
                mode=one.mode if sound else None,
                curvature=float(one.curvature[0]) if sound else None,
                max_force=float(one.residual[0]) if sound else None,
                negative=negative,
                steps=int(one.steps[0]),
                rotations=int(one.rotations[0]),
                notes=self.notes[i],
                warnings=tuple(warnings),
                record=self.record,
            )
        )

    def _refuse(self, i: int, problem: GroundstateError) -> None:
        nothing = dict.fromkeys(("energy", "barrier", "mode", "curvature", "max_force", "negative"))
        self._keep(
            SaddleResult(
                index=i,
                status="invalid",
                code=problem.code,
                reason=str(problem),
                system=self.system[i],
                steps=0,
                rotations=0,
                notes=self.notes[i],
                warnings=(),
                record=self.record,
                **nothing,
            )
        )

    def _keep(self, result: SaddleResult) -> None:
        self.results[result.index] = result
        if self.folder is None:
            return
        line: dict[str, Any] = {"key": self.keys[result.index], "index": result.index, "record": dict(self.record)}
        line |= {name: getattr(result, name) for name in _NUMBERS}
        line |= {"notes": list(result.notes), "warnings": list(result.warnings)}
        if result.mode is not None:
            text = frame_text(result.system, {"mode": result.mode}, {"index": result.index, "status": result.status})
            name = "converged.extxyz" if result.converged else "not_converged.extxyz"
            line["frame"] = self.folder.append(name, text)
        self.folder.commit(line)

    def _restored(self, i: int, line: Mapping[str, Any]) -> SaddleResult:
        system, mode = self.system[i], None
        if "frame" in line and self.folder is not None:
            system, (mode,) = read_frame(self.folder.frame(line["frame"]), system)
        kept: dict[str, Any] = {name: line[name] for name in _NUMBERS}
        kept |= {"notes": tuple(line["notes"]), "warnings": tuple(line["warnings"])}
        return SaddleResult(index=i, system=system, mode=mode, record=line["record"], **kept)
