"""Minimum energy paths between minima: one or many elastic bands as one batch, an honest end for each."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from groundstate.atoms import Allowances, GroundstateError, OptionError, StructureError, System, check, judge
from groundstate.potentials import Potential
from groundstate.simulation.engine import Engine
from groundstate.simulation.evaluation import computed, packed
from groundstate.simulation.outputs import RunFolder, identity, input_keys, run_folder
from groundstate.simulation.paths import band
from groundstate.simulation.paths.band import BandState
from groundstate.simulation.paths.ends import mismatch, remarks
from groundstate.simulation.paths.interpolate import band_of, interpolate
from groundstate.simulation.paths.modes import lowest_modes
from groundstate.simulation.paths.neb_records import HOW_COMPUTED, NEBConfig, NEBResult, Status
from groundstate.simulation.paths.profile import Profile
from groundstate.simulation.paths.storage import PathStore
from groundstate.simulation.progress import Callback, Progress, silent
from groundstate.simulation.relaxation import RelaxConfig, relax
from groundstate.simulation.relaxation.relax import all_fixed, check_fixed, no_atoms
from groundstate.simulation.states import join, take


def neb(
    start: System,
    end: System,
    potential: Potential,
    config: NEBConfig | None = None,
    *,
    fixed_atoms: Bool[Tensor, " atom"] | None = None,
    allow: Allowances | None = None,
    output: Path | str | None = None,
    progress: Callback = silent,
) -> list[NEBResult]:
    """The minimum energy path from each structure of `start` to the one of `end`; one result each, in order.

    Atoms are matched by their numbers within a structure, each takes its shortest way over periodic boundaries. The
    images of all paths are one batch. With `output` finished paths are on disk at once, running ones at every
    checkpoint, and the same call continues. Raises OptionError when the batches do not fit, RunError for the folder.
    Checked: tests/simulation/test_neb.py (ASE, Müller–Brown, batch = singles), test_neb_resume.py
    """
    config = config or NEBConfig()
    if start.n_systems != end.n_systems:
        what = f"{start.n_systems} starts were given and {end.n_systems} ends"
        raise OptionError("E-PATH-PAIRS", what, why="a path has one of each", fix="give as many ends as starts")
    fixed = no_atoms(start) if fixed_atoms is None else fixed_atoms
    check_fixed(start, fixed)
    resolved: dict[str, Any] = {name: value for name, value in asdict(config).items() if name not in HOW_COMPUTED}
    record = identity("neb", potential.fingerprint(), resolved)
    folder = nullcontext(None) if output is None else run_folder(Path(output), record)
    with folder as run:
        return _Paths(start, end, fixed, potential, config, allow or Allowances(), record, run, progress).run()


class _Paths:
    """The paths of one call: what is refused, what runs, what has ended."""

    def __init__(
        self,
        start: System,
        end: System,
        fixed: Bool[Tensor, " atom"],
        potential: Potential,
        config: NEBConfig,
        allow: Allowances,
        record: Mapping[str, Any],
        folder: RunFolder | None,
        progress: Callback,
    ) -> None:
        self.potential, self.config, self.allow = potential, config, allow
        self.record, self.progress = record, progress
        self.starts, self.ends = list(start), list(end)
        self.fixed = list(fixed.split(start.atoms_per_system.tolist()))
        there = no_atoms(end)
        pairs = zip(input_keys(start, fixed), input_keys(end, there), strict=True)
        self.store = PathStore(folder, [f"{one}:{other}" for one, other in pairs])
        self.notes: dict[int, list[str]] = {i: [] for i in range(len(self.starts))}
        self.warnings: dict[int, list[str]] = {i: [] for i in range(len(self.starts))}
        self.results: dict[int, NEBResult] = {}

    def run(self) -> list[NEBResult]:
        for i in range(len(self.starts)):
            if (kept := self.store.finished(i, self.starts[i])) is not None:
                self.results[i] = NEBResult(index=i, record=self.record, **kept)
        waiting = [i for i in range(len(self.starts)) if i not in self.results]
        if self.config.relax_ends and waiting:
            self._relax_ends(waiting)
        states = [state for i in waiting if (state := self._admitted(i)) is not None]
        self._report(None)
        for group in packed(states, [s.system.n_atoms for s in states], self.config.max_atoms_per_batch):
            self._run_together(group)
        return [self.results[i] for i in range(len(self.starts))]

    def _relax_ends(self, waiting: Sequence[int]) -> None:
        """Both ends of every path, in one batch; one that finds no minimum refuses its path."""
        config = RelaxConfig(
            force_tolerance=self.config.force_tolerance / 2,
            skin=self.config.skin,
            max_atoms_per_batch=self.config.max_atoms_per_batch,
        )
        both = [self.starts[i] for i in waiting] + [self.ends[i] for i in waiting]
        results = relax(
            System.batch(both),
            self.potential,
            config,
            fixed_atoms=torch.cat([self.fixed[i] for i in waiting] * 2),
            allow=self.allow,
            output=self.store.subfolder("ends"),
            progress=self.progress,
        )
        for k, i in enumerate(waiting):
            for name, result in (("start", results[k]), ("end", results[k + len(waiting)])):
                if not result.converged:
                    what = f"the {name} of the path found no minimum ({result.status}: {result.reason})"
                    self._refuse(i, StructureError("E-PATH-END", what, fix="relax it by itself and look at it"))
                    break
                (self.starts if name == "start" else self.ends)[i] = result.system

    def _admitted(self, i: int) -> BandState | None:
        """The band of a path before its first step, or as the last checkpoint has it; `None` where it is refused."""
        if i in self.results:
            return None
        start, end, fixed = self.starts[i], self.ends[i], self.fixed[i]
        try:
            self._examine(i)
            at_ends = computed(System.batch([start, end]), self.potential, None)
        except GroundstateError as error:
            self._refuse(i, error)
            return None
        self._judge_ends(i, at_ends["forces"])
        guess = band_of(start, interpolate(start, end, fixed, self.config.images, self.config.interpolation))
        if problem := self._overlap(guess):
            self._refuse(i, problem)
            return None
        energy = torch.zeros(1, self.config.images + 2, dtype=torch.float64, device=start.device)
        energy[0, 0], energy[0, -1] = at_ends["energy"][0], at_ends["energy"][1]
        held = fixed.repeat(self.config.images + 2)
        state = band.init(guess, held, torch.tensor([i], device=start.device), energy, self.config.max_step)
        return self.store.continued(i, state)

    def _examine(self, i: int) -> None:
        """Raise why no path joins the ends; note what is doubtful."""
        start, end, fixed = self.starts[i], self.ends[i], self.fixed[i]
        if bool(fixed.all()):
            raise all_fixed()
        for name, single in (("start", start), ("end", end)):
            self.notes[i] += [f"{name}: {note}" for note in check(single, self.potential.domain, self.allow)]
        if problem := mismatch(start, end, fixed):
            raise problem
        self.warnings[i] += remarks(start, end, fixed)

    def _overlap(self, guess: System) -> StructureError | None:
        """Atoms of the first guess that pass through each other: no model has a number for that."""
        for m, verdict in enumerate(judge(self._images(guess), self.potential.domain, self.allow)):
            if verdict.problems:
                return StructureError(
                    "E-PATH-OVERLAP",
                    f"image {m} of the first guess: {verdict.problems[0].what}",
                    why="the path leads through an atom",
                    fix="use interpolation='idpp', or give the path in two parts around the obstacle",
                    atoms=verdict.problems[0].atoms,
                )
        return None

    def _images(self, whole: System) -> System:
        return band.Bands.of(whole, self.config.images + 2).structures()

    def _judge_ends(self, i: int, forces: Tensor) -> None:
        free = ~self.fixed[i]
        for name, rows in zip(("start", "end"), forces.chunk(2), strict=True):
            largest = float(torch.linalg.vector_norm(rows[free], dim=1).max())
            if largest > 2 * self.config.force_tolerance:
                self.warnings[i].append(
                    f"the {name} is no minimum (largest force {largest:.3g} eV/Å): barriers are counted from where it"
                    " stands; relax_ends moves it to the minimum"
                )

    def _run_together(self, group: Sequence[BandState]) -> None:
        state: BandState | None = join(list(group))
        engine = Engine(self.potential, self.config.skin)
        done = 0
        while state is not None:
            state, errors = band.step(state, engine, self.config.elasticity)
            done += 1
            ended = self._ended(state, errors)
            for s, (status, code, reason) in ended.items():
                self._finish(take(state, state.system, [s]), status, code, reason)
            if ended:
                left = [s for s in range(len(state.steps)) if s not in ended]
                inner = self.config.images
                engine.select([s * inner + m for s in left for m in range(inner)])
                state = take(state, state.system, left) if left else None
            if state is not None and done % self.config.checkpoint_every == 0:
                self.store.checkpoint(state)
            self._report(state)

    def _ended(
        self, state: BandState, errors: Mapping[int, tuple[int, GroundstateError]]
    ) -> dict[int, tuple[Status, str, str]]:
        found = dict[int, tuple[Status, str, str]]()
        residual, steps = state.residual.tolist(), state.steps.tolist()
        rising = band.climbers(state.energy).any(dim=1).tolist()
        for s in range(len(steps)):
            waits = self.config.climb and rising[s] and not bool(state.climbing[s])
            if s in errors:
                image, error = errors[s]
                found[s] = "diverged", error.code, f"image {image}: {error.what}"
            elif not bool(torch.isfinite(state.energy[s]).all()) or not residual[s] < float("inf"):
                found[s] = "diverged", "E-RESULT-NOT-FINITE", f"energy or forces were not finite at step {steps[s]}"
            elif residual[s] <= self.config.force_tolerance and not waits:
                found[s] = self._sound(take(state, state.system, [s]))
            elif steps[s] >= self.config.max_steps:
                reason = (
                    f"largest band force {residual[s]:.3g} eV/Å after {steps[s]} steps,"
                    f" tolerance {self.config.force_tolerance:g}"
                )
                found[s] = "max_steps", "E-PATH-STEPS", reason
        return found

    def _sound(self, one: BandState) -> tuple[Status, str, str]:
        for m, verdict in enumerate(judge(self._images(one.system), self.potential.domain, self.allow)):
            if verdict.problems:
                return "diverged", verdict.problems[0].code, f"image {m}: {verdict.problems[0].what}"
        return "converged", "", ""

    def _finish(self, one: BandState, status: Status, code: str, reason: str) -> None:
        i = int(one.index[0])
        bands = band.Bands.of(one.system, self.config.images + 2)
        images = bands.structures()
        sound = bool(torch.isfinite(one.energy).all()) and bool(torch.isfinite(one.forces).all())
        result = NEBResult(
            index=i,
            status=status,
            code=code,
            reason=reason,
            images=images,
            profile=None,
            saddle=None,
            climbed=bool(one.climbing[0]),
            barrier_forward=None,
            barrier_backward=None,
            reaction_energy=None,
            max_force=float(one.residual[0]) if sound else None,
            steps=int(one.steps[0]),
            modes=None,
            notes=(),
            warnings=(),
            record=self.record,
        )
        if sound:
            result = self._measured(result, one, bands)
        if status == "converged" and self.config.verify and result.saddle is not None:
            result = self._verified(result, images[result.saddle])
        self._keep(replace(result, notes=tuple(self.notes[i]), warnings=tuple(self.warnings[i])))

    def _measured(self, result: NEBResult, one: BandState, bands: band.Bands) -> NEBResult:
        """Profile and barriers of a path."""
        energy = one.energy[0]
        still = torch.zeros_like(one.energy)
        found = band.band_forces(bands, one.energy, one.forces, still, one.climbing)
        profile = Profile(found.before[0].cumsum(0).cpu(), (energy - energy[0]).cpu(), found.slope[0].cpu())
        _, smooth = profile.curve()
        saddle = int(energy.argmax())
        between = 0 < saddle < len(energy) - 1
        top = float(profile.energy[saddle]) if bool(one.climbing[0]) else float(smooth.max())
        if not between:
            self.notes[result.index].append("no image is higher than both ends: the path has no barrier of its own")
            top = float(profile.energy.max())
        elif not bool(one.climbing[0]):
            self.notes[result.index].append("no image climbed: the barrier is the top of the cubic between images")
        dips = _minima_between(profile.energy)
        if dips:
            self.warnings[result.index].append(
                f"the path dips into another minimum near image {', '.join(map(str, dips))}: split it there, and the"
                " barrier of each part is its own"
            )
        final = float(profile.energy[-1])
        return replace(
            result,
            profile=profile,
            saddle=saddle if between else None,
            barrier_forward=top,
            barrier_backward=top - final,
            reaction_energy=final,
        )

    def _verified(self, result: NEBResult, saddle: System) -> NEBResult:
        modes = lowest_modes(
            self.potential, saddle, self.fixed[result.index], max_atoms_per_batch=self.config.max_atoms_per_batch
        )
        if modes.negative != 1:
            self.warnings[result.index].append(
                f"the highest image has {modes.negative} negative modes, a saddle has one: tighten force_tolerance or"
                " let it climb; with more than one it is no transition state"
            )
        return replace(result, modes=modes)

    def _refuse(self, i: int, problem: GroundstateError) -> None:
        nothing = dict.fromkeys(
            ("images", "profile", "saddle", "barrier_forward", "barrier_backward", "reaction_energy", "max_force")
        )
        self._keep(
            NEBResult(
                index=i,
                status="invalid",
                code=problem.code,
                reason=str(problem),
                climbed=False,
                steps=0,
                modes=None,
                notes=tuple(self.notes[i]),
                warnings=tuple(self.warnings[i]),
                record=self.record,
                **nothing,
            )
        )

    def _keep(self, result: NEBResult) -> None:
        self.results[result.index] = result
        self.store.finish(result.index, result, self.record)

    def _report(self, state: BandState | None) -> None:
        message = (
            "" if state is None else f"{len(state.steps)} under way, band force {float(state.residual.max()):.2g} eV/Å"
        )
        self.progress(Progress(len(self.results), len(self.starts), "paths", message))


def _minima_between(energy: Tensor, depth: float = 0.02) -> list[int]:
    """Images between the ends that lie `depth` eV below a higher image on either side."""
    values = energy.tolist()
    return [
        m
        for m in range(1, len(values) - 1)
        if values[m] <= min(values[m - 1], values[m + 1])
        and max(values[:m]) - values[m] > depth
        and max(values[m + 1 :]) - values[m] > depth
    ]
