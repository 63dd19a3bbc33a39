"""Relaxation of one structure or thousands: refusals at the door, a batch that refills, an honest end for each."""

from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, StructureError, System, judge
from groundstate.potentials import Potential, periodic_projector
from groundstate.simulation.engine import Engine
from groundstate.simulation.frames import frame_text, read_frame
from groundstate.simulation.outputs import RunFolder, identity, input_keys, run_folder
from groundstate.simulation.progress import Callback, Progress, silent
from groundstate.simulation.relaxation import minimise
from groundstate.simulation.relaxation.minimise import Frame, RelaxConfig, RelaxState
from groundstate.simulation.states import atom_rows, join, take

Status = Literal["converged", "max_steps", "diverged", "invalid"]
HOW_COMPUTED = ("skin", "max_atoms_per_batch")
"""Options that change the cost of a result and not the result."""


@dataclass(frozen=True, eq=False)
class RelaxResult:
    """How the relaxation of one structure ended.

    status      `converged`; `max_steps`: the last frame; `diverged`: the frame of lowest enthalpy before things went
                wrong; `invalid`: refused at the door, the input
    code, reason  why it is not converged; empty when it is
    system      that frame · forces there, eV/Å, `None` where nothing was computed
    stress      there, eV/Å³, of a crystal whose cell relaxed, else `None`
    energy, enthalpy (E + pV) eV · max_force, max_cell_force eV/Å, what the tolerance was compared with · volume_ratio
    to the input (areas of a slab) · notes for people · record: potential, configuration and version that made it
    """

    index: int
    status: Status
    code: str
    reason: str
    system: System
    forces: Float[Tensor, "atom 3"] | None
    stress: Float[Tensor, "3 3"] | None
    energy: float | None
    enthalpy: float | None
    max_force: float | None
    max_cell_force: float | None
    volume_ratio: float
    steps: int
    notes: tuple[str, ...]
    record: Mapping[str, Any]

    @property
    def converged(self) -> bool:
        """Whether forces (and stress, where the cell relaxed) are below the tolerance in a sound structure."""
        return self.status == "converged"


_NUMBERS = ("energy", "enthalpy", "max_force", "max_cell_force", "volume_ratio", "steps")


def relax(
    system: System,
    potential: Potential,
    config: RelaxConfig | None = None,
    *,
    fixed_atoms: Bool[Tensor, " atom"] | None = None,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[RelaxResult]:
    """Relax every structure of a batch to a minimum of its energy, or enthalpy; one result each, in order.

    A structure that is refused or diverges ends by itself; the others do not notice. With `output`, each result is on
    disk when it is finished, and the same call continues after an interruption. Raises OptionError before anything
    starts when the options fit no structure, RunError when the folder is locked or holds another run.
    Checked: tests/simulation/test_relax.py, test_relax_fates.py, test_simulation_resume.py
    """
    config = config or RelaxConfig()
    fixed = no_atoms(system) if fixed_atoms is None else fixed_atoms
    check_fixed(system, fixed)
    if config.cell != "fixed" and not bool(system.pbc.any()):
        raise _not_periodic()
    resolved = {name: value for name, value in asdict(config).items() if name not in HOW_COMPUTED}
    record = identity("relax", potential.fingerprint(), resolved)
    folder = nullcontext(None) if output is None else run_folder(Path(output), record)
    with folder as run:
        return _Relaxation(system, fixed, potential, config, allow or Allowances(), record, run, progress).run()


class _Relaxation:
    """The queue, the batch under way and the results of one call."""

    def __init__(
        self,
        system: System,
        fixed: Bool[Tensor, " atom"],
        potential: Potential,
        config: RelaxConfig,
        allow: Allowances,
        record: Mapping[str, Any],
        folder: RunFolder | None,
        progress: Callback,
    ) -> None:
        self.system, self.fixed, self.config, self.allow = system, fixed, config, allow
        self.record, self.folder, self.progress = record, folder, progress
        self.engine = Engine(potential, config.skin)
        self.single_precision = any(p.dtype == torch.float32 for p in potential.parameters())
        self.domain = potential.domain
        self.keys = input_keys(system, fixed)
        self.notes: dict[int, list[str]] = {}
        self.results: dict[int, RelaxResult] = {}

    def run(self) -> list[RelaxResult]:
        queue = deque(self._admit())
        state: RelaxState | None = None
        self._report()
        while queue or state is not None:
            state = self._refill(state, queue)
            state, errors = minimise.step(state, self.engine, self.config)
            ended = self._ended(state, errors)
            for s, (status, code, reason) in ended.items():
                self._finish(state, s, status, code, reason)
            if ended:
                left = [s for s in range(len(state.steps)) if s not in ended]
                self.engine.select(left)
                state = take(state, state.system, left) if left else None
            self._report(state)
        return [self.results[i] for i in range(self.system.n_systems)]

    def _admit(self) -> list[int]:
        """Indices to compute; what was finished before or must be refused gets its result at once."""
        done = {} if self.folder is None else {line["key"]: line for line in self.folder.lines}
        waiting = []
        held = self.fixed.split(self.system.atoms_per_system.tolist())
        for i, verdict in enumerate(judge(self.system, self.domain, self.allow)):
            self.notes[i] = list(verdict.notes)
            if self.keys[i] in done:
                self.results[i] = self._restored(i, done[self.keys[i]])
            elif problems := verdict.problems or _contradictions(self.system[i], held[i], self.config):
                self._refuse(i, problems[0])
            else:
                waiting.append(i)
        return waiting

    def _refill(self, state: RelaxState | None, queue: deque[int]) -> RelaxState:
        limit = self.config.max_atoms_per_batch
        present = 0 if state is None else state.system.n_atoms
        entering: list[int] = []
        while queue:
            size = int(self.system.atoms_per_system[queue[0]])
            if limit is not None and present + size > limit and present > 0:
                break
            present += size
            entering.append(queue.popleft())
        if entering:
            index = torch.tensor(entering, device=self.system.device)
            fixed = self.fixed[atom_rows(self.system, entering)]
            fresh = minimise.init(self.system.select(entering), fixed, index, self.config)
            self.engine.extend(len(entering))
            state = fresh if state is None else join([state, fresh])
        assert state is not None, "the loop runs only while there is something to compute"
        return state

    def _ended(self, state: RelaxState, errors: Mapping[int, GroundstateError]) -> dict[int, tuple[Status, str, str]]:
        tolerance, found = self.config.force_tolerance, dict[int, tuple[Status, str, str]]()
        finite, residual = state.now.finite.tolist(), state.now.residual.tolist()
        backoffs, steps, smallest = state.backoffs.tolist(), state.steps.tolist(), state.smallest.tolist()
        for s in range(len(steps)):
            if s in errors:
                found[s] = "diverged", errors[s].code, errors[s].what
            elif not finite[s]:
                found[s] = "diverged", "E-RESULT-NOT-FINITE", f"energy or forces were not finite at step {steps[s]}"
            elif residual[s] <= tolerance:
                problems = judge(state.system[s], self.domain, self.allow)[0].problems
                found[s] = ("diverged", problems[0].code, problems[0].what) if problems else ("converged", "", "")
            elif backoffs[s] > minimise.BACKOFFS:
                found[s] = "diverged", "E-RELAX-DIVERGED", self._what_ran_away(state, s)
            elif steps[s] >= self.config.max_steps:
                reason = f"largest force {residual[s]:.3g} eV/Å after {steps[s]} steps, tolerance {tolerance:g}"
                found[s] = "max_steps", "E-RELAX-STEPS", reason
                stalled = steps[s] - int(state.smallest_at[s]) >= minimise.NO_PROGRESS
                if stalled and self.single_precision:
                    self.notes[int(state.index[s])].append(
                        f"forces have not halved since {smallest[s]:.2g} eV/Å, probably the noise of float32:"
                        " use float64 or a larger force_tolerance"
                    )
        return found

    def _what_ran_away(self, state: RelaxState, s: int) -> str:
        tried = f"after {minimise.BACKOFFS} retreats to the best frame"
        if bool(state.blown_up[s]):
            return f"energy or forces keep growing (largest force {float(state.now.max_force[s]):.3g} eV/Å) {tried}"
        limit = f"{self.config.max_volume_change:g}"
        return f"the volume keeps leaving 1/{limit} … {limit} of the start {tried}"

    def _finish(self, state: RelaxState, s: int, status: Status, code: str, reason: str) -> None:
        i = int(state.index[s])
        single = take(state, state.system, [s])
        frame: Frame = single.best if status == "diverged" else single.now
        computed = bool(frame.finite[0])
        held = single.filter
        placed = held.place(single.system, frame.coordinates) if computed else self.system[i]
        strained = computed and self.config.cell != "fixed" and bool(placed.pbc.all())
        self._keep(
            RelaxResult(
                index=i,
                status=status,
                code=code,
                reason=reason,
                system=placed,
                forces=frame.forces if computed else None,
                stress=frame.strain_gradient[0] / float(placed.volume[0]) if strained else None,
                energy=float(frame.energy[0]) if computed else None,
                enthalpy=float(frame.enthalpy[0]) if computed else None,
                max_force=float(frame.max_force[0]) if computed else None,
                max_cell_force=float(frame.max_cell_force[0]) if computed else None,
                volume_ratio=float(held.volume_ratio(frame.coordinates)[0]),
                steps=int(single.steps[0]),
                notes=tuple(self.notes[i]),
                record=self.record,
            )
        )

    def _refuse(self, i: int, problem: GroundstateError) -> None:
        nothing = dict.fromkeys(("forces", "stress", "energy", "enthalpy", "max_force", "max_cell_force"))
        self._keep(
            RelaxResult(
                index=i,
                status="invalid",
                code=problem.code,
                reason=str(problem),
                system=self.system[i],
                volume_ratio=1.0,
                steps=0,
                notes=tuple(self.notes[i]),
                record=self.record,
                **nothing,
            )
        )

    def _keep(self, result: RelaxResult) -> None:
        self.results[result.index] = result
        if self.folder is None:
            return
        line: dict[str, Any] = {"key": self.keys[result.index], "index": result.index, "status": result.status}
        line |= {"code": result.code, "reason": result.reason, "notes": list(result.notes)}
        line |= {name: getattr(result, name) for name in _NUMBERS} | {"record": dict(self.record)}
        line["stress"] = None if result.stress is None else result.stress.tolist()
        if result.forces is not None:
            facts = {name: line[name] for name in ("index", "status", "energy", "max_force")}
            text = frame_text(result.system, {"forces": result.forces}, facts | {"model": self.record["potential"]})
            name = "converged.extxyz" if result.converged else "not_converged.extxyz"
            line["frame"] = self.folder.append(name, text)
        self.folder.commit(line)

    def _restored(self, i: int, line: Mapping[str, Any]) -> RelaxResult:
        system, forces = self.system[i], None
        if "frame" in line and self.folder is not None:
            system, (forces,) = read_frame(self.folder.frame(line["frame"]), system)
        kept = {name: line[name] for name in ("status", "code", "reason", *_NUMBERS, "record")}
        kept["stress"] = None if line["stress"] is None else torch.tensor(line["stress"], dtype=torch.float64)
        return RelaxResult(index=i, system=system, forces=forces, notes=tuple(line["notes"]), **kept)

    def _report(self, state: RelaxState | None = None) -> None:
        message = (
            ""
            if state is None
            else f"{len(state.steps)} under way, largest force {float(state.now.residual.max()):.2g} eV/Å"
        )
        self.progress(Progress(len(self.results), self.system.n_systems, "structures", message))


def no_atoms(system: System) -> Bool[Tensor, " atom"]:
    """The mask that holds nothing fixed."""
    return torch.zeros(system.n_atoms, dtype=torch.bool, device=system.device)


def check_fixed(system: System, fixed: Bool[Tensor, " row"]) -> None:
    """Refuse a mask that does not belong to the batch."""
    if fixed.shape[0] != system.n_atoms:
        raise OptionError(
            "E-FIXED-ATOMS",
            f"the mask of fixed atoms has {fixed.shape[0]} entries for {system.n_atoms} atoms",
            fix="give one true or false per atom of the batch",
        )


def all_fixed() -> StructureError:
    """Nothing can move."""
    return StructureError("E-ALL-FIXED", "every atom is held fixed", why="nothing can move", fix="free some atoms")


def _not_periodic() -> OptionError:
    return OptionError(
        "E-CELL-NOT-PERIODIC",
        "a cell cannot relax where there is none",
        why="the structure has no periodic direction",
        fix="use cell='fixed' for molecules, or set the structure's pbc",
    )


def _contradictions(single: System, fixed: Bool[Tensor, " atom"], config: RelaxConfig) -> list[GroundstateError]:
    """Options that this structure cannot meet."""
    if config.cell == "fixed":
        return [all_fixed()] if bool(fixed.all()) else []
    periods = int(single.pbc[0].sum())
    if periods == 0:
        return [_not_periodic()]
    if config.pressure_GPa != 0 and periods < 3:
        what = f"a pressure was given to a structure with {periods} periodic direction(s)"
        return [OptionError("E-PRESSURE", what, why="it has no volume to work on", fix="set pressure_GPa to 0")]
    plane = periodic_projector(single)[0]
    tilted = bool((plane - torch.diag(plane.diagonal())).abs().max() > 1e-9)
    if config.cell_mask is not None and tilted:
        what = "a cell mask was given to a slab or chain that does not lie along x, y, z"
        return [OptionError("E-CELL-MASK", what, why="its components are mixed", fix="turn the structure, or drop it")]
    return []
