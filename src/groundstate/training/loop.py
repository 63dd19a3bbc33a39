"""The one training loop, over any aim: batches → parts of a loss → step → average → evaluation → checkpoint.

Losses are sums divided by counts over the whole batch, so that processes sharing a batch take the step one process
would have taken. Checked: tests/training/test_train.py, test_parallel.py.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import OptionError, RunError
from groundstate.data import Batch, Record
from groundstate.equivariant.operators import derivatives
from groundstate.potentials import Potential
from groundstate.training.aims import Aim
from groundstate.training.config import TrainConfig
from groundstate.training.course import Course, Step
from groundstate.training.error_table import ErrorsByRecord, ErrorTable, errors_by_record, table_of
from groundstate.training.memory import refuse_too_large
from groundstate.training.metrics import Meters, add_sums, no_sums, summarise
from groundstate.training.optimise import TENSORS_PER_PARAMETER, learning_rate, weights_at
from groundstate.training.report import Report
from groundstate.training.run_folder import RunFolder
from groundstate.training.state import State, reduce_gradients
from groundstate.training.stopping import Interruption

_SPACING_S = 3.0
"""Between the checkpoints of evaluations: epochs of a few structures are shorter than the writing of a file."""


class Loop:
    """One training run under way in one process."""

    def __init__(
        self,
        fabric: Any,
        potential: Potential,
        aim: Aim,
        config: TrainConfig,
        folder: RunFolder,
        train: Sequence[Record],
        valid: Sequence[Record],
    ) -> None:
        if not any(p.requires_grad for p in potential.parameters()):
            raise OptionError(
                "E-NOTHING-TO-TRAIN",
                "no parameter of this potential requires gradients",
                fix="call potential.requires_grad_(True), or fine-tune with a correction on top",
            )
        self.fabric, self.aim, self.config, self.folder = fabric, aim, config, folder
        self.train_records, self.valid_records = train, valid
        self.state = State(potential.to(fabric.device).train(), config)
        self.judged = {**aim.weights, **config.final_weights}
        self.interruption, self._told_to_stop = Interruption(), False
        self.clock = self.saved = time.monotonic()

    @cached_property
    def train(self) -> Course:
        """The steps to learn from; measured when first asked for, by all processes together."""
        return Course(self.fabric, self.train_records, self.state.potential.cutoff, self.aim, self.config)

    @cached_property
    def valid(self) -> Course:
        """The steps of an evaluation."""
        return Course(self.fabric, self.valid_records, self.state.potential.cutoff, self.aim, self.config)

    # Life of a run

    def resume(self) -> None:
        """Take up the latest checkpoint, if there is one."""
        found = self.folder.load_checkpoint()
        if found is None:
            return
        self.state.restore(*found)
        self.clock = time.monotonic() - self.state.counters.elapsed_s
        if self.fabric.is_global_zero:
            self.folder.write_metrics(self.state.counters.history)

    @property
    def stopped(self) -> str:
        """Why there is no further epoch: "epochs", "patience" or "time limit"; "" while there is one."""
        counters, config = self.state.counters, self.config
        if counters.epoch >= config.epochs:
            return "epochs"
        if config.patience is not None and counters.waited >= config.patience:
            return "patience"
        return "time limit" if counters.history and self._out_of_time() else ""

    def look_before(self, before: ErrorTable | None) -> None:
        """Errors before the first step; stops when the energies have another zero than the model's."""
        if self.state.counters.before is not None:
            return
        table = self.errors()
        energies = [(name, row) for name, row in table.rows.items() if name == "energy" or name.startswith("energy @ ")]
        worst, offset = max(
            ((name, row.mean) for name, row in energies if "energy" in self.aim.requires),
            key=lambda item: abs(item[1]),
            default=("", 0.0),
        )
        if abs(offset) > self.config.largest_offset:
            theory = worst.removeprefix("energy").replace(" @ ", " of ")
            raise RunError(
                "E-REFERENCE-MISMATCH",
                f"before training, predicted energies{theory} are off by {offset:+.3g} eV/atom on average",
                why="reference energies and labels disagree about the zero of energy, and the network would learn that",
                fix="fit the reference energies to these labels, or raise largest_offset if the difference is meant",
            )
        self.state.counters.before = (before or table).as_dict()

    def errors(self) -> ErrorTable:
        """Errors on the validation frames as the weights now are; no rows for an aim that reads no labels."""
        return table_of(self.errors_by_record(), self.valid_records)

    def errors_by_record(self) -> ErrorsByRecord:
        """Those of every validation frame."""
        return errors_by_record(self.state.potential, self.valid_records) if self.aim.requires else {}

    def fit(self, report: Report) -> None:
        """Epochs until they are done, validation stops improving, or time is up."""
        counters = self.state.counters
        report.note(self._forecast())
        with self.interruption, closing(self.train.ready(self._steps_to_come())) as steps:
            while not self.stopped:
                if counters.batch == 0:
                    counters.sums = no_sums(self.aim.weights)
                epoch = self._until_evaluation(steps, report)
                self._evaluate(epoch)
                if self.fabric.is_global_zero:
                    report.evaluation(counters.history)
                first = len(counters.history) == 1  # whatever comes, something is kept
                due = self._unsaved_s >= min(_SPACING_S, self._save_every_s)
                if first or due or self.stopped or self._told_to_stop:
                    self._save()
                if self._told_to_stop and not self.stopped:
                    raise self._interrupted()

    # Pieces

    def _forecast(self) -> str:
        """What memory the run will take; refused here when it is more than there is."""
        held = sum(parameter.numel() * parameter.element_size() for parameter in self.state.trained.values())
        largest = self.train.largest_piece(self.config.epochs)
        taken = held * TENSORS_PER_PARAMETER
        return refuse_too_large(self._probe, largest, self.train.sizes.cost, self.fabric.device, state_bytes=taken)

    def _probe(self, indices: Sequence[int]) -> None:
        """A piece as in a step, gradients included, that leaves no trace."""
        batch = self.train.batch(indices).to(self.fabric.device)
        parts = self.aim.loss(self.state.potential, batch, differentiable=True)
        self._backward([part.loss for part in parts.values() if part.count > 0])
        self.state.optimiser.zero_grad(set_to_none=True)

    def _backward(self, terms: Sequence[Tensor]) -> None:
        if terms and torch.stack(list(terms)).requires_grad:
            with derivatives("parameters"):
                torch.stack(list(terms)).sum().backward(inputs=list(self.state.trained.values()))

    def _steps_to_come(self) -> Iterator[Step]:
        first = self.state.counters.batch
        for epoch in range(self.state.counters.epoch, self.config.epochs):
            yield from self.train.steps(self.train.epoch(epoch), first)
            first = 0

    def _until_evaluation(self, steps: Iterator[tuple[Step, list[Batch]]], report: Report) -> float:
        """Steps to the end of the epoch or of the time; gives the epochs done, with their fraction."""
        counters = self.state.counters
        for step, pieces in steps:
            self._step(step, pieces)
            counters.batch = step.number + 1
            report.step(counters.epoch + counters.batch / step.of, len(step.indices))
            if counters.batch == step.of:
                counters.epoch, counters.batch = counters.epoch + 1, 0
                return float(counters.epoch)
            if self._out_of_time():
                return counters.epoch + counters.batch / step.of
            if self._told_to_stop:
                self._save()
                raise self._interrupted()
            if self._unsaved_s >= self._save_every_s:
                self._save()
        raise AssertionError("an epoch without an end")

    def _step(self, step: Step, pieces: Sequence[Batch]) -> None:
        counters, config, state = self.state.counters, self.config, self.state
        expected = self.train.counts(step.indices)
        state.optimiser.zero_grad(set_to_none=True)
        parameters = list(state.trained.values())
        progress = self._progress(step)
        weights = weights_at(self.aim.weights, self.judged, progress)
        meters = Meters(weights, self.fabric.device)
        for piece in pieces:
            parts = self.aim.loss(state.potential, piece.to(self.fabric.device), differentiable=True)
            self._backward([weights[n] * p.loss / expected[n] for n, p in parts.items() if p.count > 0])
            meters.add(parts)
        if self.fabric.world_size > 1:
            reduce_gradients(parameters, lambda vector: self.fabric.all_reduce(vector, reduce_op="sum"))
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip or float("inf"))
        sums, size = self._over_processes(meters, norm)
        self._refuse_hopeless(summarise(sums, weights)["loss"], size, step.indices)
        self._refuse_other_counts(sums, expected)
        counters.rate = learning_rate(config, counters.step, step.of, progress, counters.reductions)
        for group in state.optimiser.param_groups:
            group["lr"] = counters.rate
        state.optimiser.step()
        state.average.update(counters.step)
        counters.step += 1
        counters.sums = add_sums(counters.sums, sums)

    def _progress(self, step: Step) -> float:
        """Of the run, in [0, 1]: of its epochs or of its time, whichever is further on."""
        counters, config = self.state.counters, self.config
        done = (counters.epoch + step.number / step.of) / config.epochs
        limit = config.time_limit_minutes
        return min(1.0, done if limit is None else max(done, counters.elapsed_s / (60 * limit)))

    def _evaluate(self, epoch: float) -> None:
        """Validation with averaged weights; a line of the history, and what depends on it."""
        counters, meters = self.state.counters, Meters(self.aim.weights, self.fabric.device)
        with self.state.average.applied():
            for _, pieces in self.valid.ready(self.valid.steps(self.valid.once())):
                for piece in pieces:
                    batch = piece.to(self.fabric.device)
                    meters.add(self.aim.loss(self.state.potential, batch, differentiable=False))
        sums, _ = self._over_processes(meters)
        valid = summarise(sums, self.judged)
        if not valid["loss"] < float("inf"):
            raise self._diverged("on the validation frames", "")
        better = counters.best_loss is None or valid["loss"] < counters.best_loss
        if better:
            counters.best_loss, counters.best = valid["loss"], valid
            self.state.keep_best()
        counters.waited = 0 if better else counters.waited + 1
        counters.plateau_waited = 0 if better else counters.plateau_waited + 1
        if counters.plateau_waited >= self.config.plateau_patience:
            counters.plateau_waited, counters.reductions = 0, counters.reductions + 1
        line = {
            "epoch": epoch,
            "step": counters.step,
            "learning_rate": counters.rate,
            "seconds": counters.elapsed_s,
            **{f"train_{name}": value for name, value in summarise(counters.sums, self.judged).items()},
            **{f"valid_{name}": value for name, value in valid.items()},
        }
        counters.history.append(line)

    def _over_processes(self, meters: Meters, norm: Tensor | None = None) -> tuple[dict[str, list[float]], float]:
        """Sums added over processes, and the norm.

        All take the clock of the first, and all are told to stop when one is, so that all decide alike.
        The one place of a step where the device is waited for.
        """
        elapsed = time.monotonic() - self.clock
        clock, told = elapsed if self.fabric.is_global_zero else 0.0, bool(self.interruption.signal)
        local = torch.tensor([clock, told, *meters.counts], dtype=torch.float64)
        vector = torch.cat([local.to(self.fabric.device), meters.sums.reshape(-1)])
        if self.fabric.world_size > 1:
            vector = self.fabric.all_reduce(vector, reduce_op="sum")
        if norm is not None:
            vector = torch.cat([vector, norm.detach().to(vector).reshape(1)])
        self.state.counters.elapsed_s, told_to_stop, *rest = vector.tolist()
        self._told_to_stop = told_to_stop > 0
        return meters.named(rest), rest[-1] if norm is not None else 0.0

    def _out_of_time(self) -> bool:
        limit = self.config.time_limit_minutes
        return limit is not None and self.state.counters.elapsed_s >= 60 * limit

    @property
    def _unsaved_s(self) -> float:
        return time.monotonic() - self.saved

    @property
    def _save_every_s(self) -> float:
        return 60 * self.config.checkpoint_every_minutes

    def _save(self) -> None:
        self.saved = time.monotonic()
        if self.fabric.is_global_zero:
            self.folder.save_checkpoint(self.state.counters.step, self.state.tensors(), self.state.document())

    def _refuse_other_counts(self, sums: Mapping[str, list[float]], expected: Mapping[str, int]) -> None:
        wrong = [name for name, meters in sums.items() if meters[-1] != expected[name]]
        if wrong:
            name = wrong[0]
            raise RunError(
                "E-AIM-COUNTS",
                f"the aim announced {expected[name]} components of '{name}' and measured {sums[name][-1]:.0f}",
                why="losses are divided by what was announced, so the step would have another size than asked",
                fix="let `counts` of the aim say for each record what `loss` will find in it",
            )

    def _refuse_hopeless(self, loss: float, norm: float, indices: Sequence[int]) -> None:
        first = self.state.counters.step == 0
        if not abs(loss) + norm < float("inf"):
            frames = ", ".join(str(i) for i in indices[:16])
            raise self._diverged("at the first step" if first else "", f" (training frames {frames})")
        if first and loss == 0.0:
            raise RunError(
                "E-LOSS-ZERO",
                "the loss of the first step is exactly 0",
                why="no real model is exact before training: labels are empty, or are the model's own predictions",
                fix="check which keys the labels were read from",
            )

    def _interrupted(self) -> RunError:
        # Nobody leaves before the state is on disk: the end of one process may be the end of all.
        self.fabric.barrier()
        by = self.interruption.signal or "a signal to another process"
        return RunError(
            "E-RUN-INTERRUPTED",
            f"the run was told to stop by {by}; its state after step {self.state.counters.step} is kept",
            file=str(self.folder.path),
            fix="the same call on the same folder goes on from there",
        )

    def _diverged(self, when: str, frames: str) -> RunError:
        kept = self.state.counters.history
        return RunError(
            "E-LOSS-NOT-FINITE",
            f"the loss stopped being a number {when}".rstrip() + frames,
            file=str(self.folder.path),
            why=f"the last checkpoint is intact ({len(kept)} evaluations)" if kept else "nothing was learned",
            fix="look at those frames; lower learning_rate or gradient_clip, and start in another folder",
        )
