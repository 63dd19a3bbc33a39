"""Relaxation of one structure or thousands: refusals at the door, a batch that refills, an honest end for each."""

from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, System, judge
from groundstate.potentials import Potential
from groundstate.simulation import memory
from groundstate.simulation.engine import Engine
from groundstate.simulation.outputs import RunFolder, identity, input_keys, run_folder
from groundstate.simulation.progress import Callback, Progress, silent
from groundstate.simulation.relaxation import minimise
from groundstate.simulation.relaxation.minimise import Frame, RelaxConfig, RelaxState
from groundstate.simulation.relaxation.refusals import all_fixed, check_fixed, contradictions, no_atoms, not_periodic
from groundstate.simulation.relaxation.result import RelaxResult, Status, refused, restored, stored
from groundstate.simulation.relaxation.symmetry import Symmetric, spglib_there, symmetric
from groundstate.simulation.states import atom_rows, join, take

__all__ = ["RelaxResult", "all_fixed", "check_fixed", "no_atoms", "relax"]


HOW_COMPUTED = ("skin", "max_atoms_per_batch")
"""Options that change the cost of a result and not the result."""


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
        raise not_periodic()
    if config.keep_symmetry is not None:
        spglib_there()
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
        self.limit = config.max_atoms_per_batch
        self.message = ""
        self.symmetric: dict[int, Symmetric] = {}
        self.notes: dict[int, list[str]] = {}
        self.results: dict[int, RelaxResult] = {}

    def run(self) -> list[RelaxResult]:
        queue = deque(self._fitting(self._admit()))
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
            if self.folder is not None and self.keys[i] in done:
                self.results[i] = restored(self.folder, done[self.keys[i]], i, self.system[i])
            elif problems := verdict.problems or self._unsuitable(i, held[i]):
                self._refuse(i, problems[0])
            else:
                waiting.append(i)
        return waiting

    def _unsuitable(self, i: int, fixed: Bool[Tensor, " atom"]) -> list[GroundstateError]:
        """Why the options do not fit a structure; where its symmetry is kept, it is found here."""
        problems = contradictions(self.system[i], fixed, self.config)
        if problems or self.config.keep_symmetry is None:
            return problems
        try:
            self.symmetric[i] = symmetric(self.system[i], fixed, self.config.mask, self.config.keep_symmetry)
        except GroundstateError as error:
            return [error]
        self.notes[i].append(self.symmetric[i].note)
        return []

    def _fitting(self, waiting: list[int]) -> list[int]:
        """Without a limit given, as many atoms together as memory is forecast to hold; what exceeds it is refused."""
        if self.limit is not None or not waiting:
            return waiting
        batch = self.system.select(waiting)
        told = memory.forecast(self.engine.potential, batch, minimise.wanted(self.config))
        self.limit, self.message = told.batch(batch.device), told.message
        if told.atoms is None:
            return waiting
        sizes = dict(zip(waiting, batch.atoms_per_system.tolist(), strict=True))
        for i, size in sizes.items():
            if size > told.atoms:
                self._refuse(i, memory.too_large(size, told))
        return [i for i in waiting if sizes[i] <= told.atoms]

    def _refill(self, state: RelaxState | None, queue: deque[int]) -> RelaxState:
        present = 0 if state is None else state.system.n_atoms
        entering: list[int] = []
        while queue:
            size = int(self.system.atoms_per_system[queue[0]])
            if self.limit is not None and present + size > self.limit and present > 0:
                break
            present += size
            entering.append(queue.popleft())
        if entering:
            index = torch.tensor(entering, device=self.system.device)
            fixed = self.fixed[atom_rows(self.system, entering)]
            fresh = self._fresh(entering, fixed, index)
            self.engine.extend(len(entering))
            state = fresh if state is None else join([state, fresh])
        assert state is not None, "the loop runs only while there is something to compute"
        return state

    def _fresh(self, entering: list[int], fixed: Tensor, index: Tensor) -> RelaxState:
        if self.config.keep_symmetry is None:
            return minimise.init(self.system.select(entering), fixed, index, self.config)
        kept = [self.symmetric.pop(i) for i in entering]
        symmetry = join([one.symmetry for one in kept])
        return minimise.init(System.batch([one.system for one in kept]), fixed, index, self.config, symmetry)

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
        if self.engine.shortage is not None:
            self.notes[i].append(str(self.engine.shortage))
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
        self._keep(refused(i, self.system[i], problem, self.notes[i], self.record))

    def _keep(self, result: RelaxResult) -> None:
        self.results[result.index] = result
        if self.folder is not None:
            stored(self.folder, self.keys[result.index], result)

    def _report(self, state: RelaxState | None = None) -> None:
        message = (
            self.message
            if state is None
            else f"{len(state.steps)} under way, largest force {float(state.now.residual.max()):.2g} eV/Å"
        )
        self.progress(Progress(len(self.results), self.system.n_systems, "structures", message))
