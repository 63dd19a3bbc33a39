"""The one training loop, over any aim: batches → parts of a loss → step → average → evaluation → checkpoint.

Losses are sums divided by counts over the whole batch, so that processes sharing a batch take the step one process
would have taken. Checked: tests/training/test_train.py, test_parallel.py.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import OptionError, RunError
from groundstate.data import Record, batches, collate
from groundstate.equivariant.operators import derivatives
from groundstate.potentials import Potential
from groundstate.training.aims import Aim, Part
from groundstate.training.config import TrainConfig
from groundstate.training.error_table import ErrorTable, evaluate_errors
from groundstate.training.metrics import no_sums, summarise
from groundstate.training.optimise import learning_rate
from groundstate.training.report import Report
from groundstate.training.run_folder import RunFolder
from groundstate.training.state import State, reduce_gradients


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
        self.train, self.valid = train, valid
        self.state = State(potential.to(fabric.device).train(), config)
        self.clock = self.saved = time.monotonic()

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
        for theory, offset in self._offsets(table).items():
            if abs(offset) <= self.config.largest_offset:
                continue
            raise RunError(
                "E-REFERENCE-MISMATCH",
                f"before training, predicted energies{theory} are off by {offset:+.3g} eV/atom on average",
                why="reference energies and labels disagree about the zero of energy, and the network would learn that",
                fix="fit the reference energies to these labels, or raise largest_offset if the difference is meant",
            )
        self.state.counters.before = (before or table).as_dict()

    def _offsets(self, table: ErrorTable) -> dict[str, float]:
        """Mean error of the energy, eV/atom, for each level of theory by itself: those of two could cancel."""
        if "energy" not in table.rows or "energy" not in self.aim.requires:
            return {}
        members: dict[str, list[Record]] = {}
        for record in self.valid:
            if "energy" in record.labels:
                members.setdefault("" if record.theory is None else f" of {record.theory.id}", []).append(record)
        if len(members) == 1:
            return {"": table["energy"].mean}
        return {name: evaluate_errors(self.state.potential, own)["energy"].mean for name, own in members.items()}

    def errors(self) -> ErrorTable:
        """Errors on the validation frames as the weights now are; no rows for an aim that reads no labels."""
        if not self.aim.requires:
            return ErrorTable(len(self.valid), {})
        return evaluate_errors(self.state.potential, self.valid)

    def fit(self, report: Report) -> None:
        """Epochs until they are done, validation stops improving, or time is up."""
        counters = self.state.counters
        while not self.stopped:
            plan = self._plan(self.train, counters.epoch, shuffle=True)
            if counters.batch == 0:
                counters.sums = no_sums(self.aim.weights)
            while counters.batch < len(plan):
                self._step(plan[counters.batch], len(plan))
                counters.batch += 1
                report.step(counters.epoch + counters.batch / len(plan))
                if self._out_of_time():
                    break
                if time.monotonic() - self.saved >= 60 * self.config.checkpoint_every_minutes:
                    self._save()
            epoch = counters.epoch + counters.batch / len(plan)
            if counters.batch == len(plan):
                counters.epoch, counters.batch = counters.epoch + 1, 0
            line = self._evaluate(epoch)
            if self.fabric.is_global_zero:
                report.evaluation(line)
            self._save()

    # Pieces

    def _step(self, indices: Sequence[int], n_batches: int) -> None:
        counters, config, state = self.state.counters, self.config, self.state
        parts = self._measure(self.train, indices, differentiable=True)
        sums = self._over_processes(_as_sums(parts, self.aim))
        loss = summarise(sums, self.aim.weights)["loss"]
        self._refuse_hopeless(loss, indices)
        state.optimiser.zero_grad(set_to_none=True)
        terms = [self.aim.weights[n] * part.loss / sums[n][-1] for n, part in parts.items() if part.count > 0]
        parameters = list(state.trained.values())
        if terms and torch.stack(terms).requires_grad:
            with derivatives("parameters"):
                torch.stack(terms).sum().backward(inputs=parameters)
        if self.fabric.world_size > 1:
            reduce_gradients(parameters, lambda vector: self.fabric.all_reduce(vector, reduce_op="sum"))
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip or float("inf"))
        self._refuse_hopeless(loss + float(norm), indices)
        progress = (counters.epoch + counters.batch / n_batches) / config.epochs
        if config.time_limit_minutes is not None:
            progress = max(progress, counters.elapsed_s / (60 * config.time_limit_minutes))
        counters.rate = learning_rate(config, counters.step, n_batches, progress, counters.reductions)
        for group in state.optimiser.param_groups:
            group["lr"] = counters.rate
        state.optimiser.step()
        state.average.update(counters.step)
        counters.step += 1
        for name, measured in sums.items():
            counters.sums[name] = [a + b for a, b in zip(counters.sums[name], measured, strict=True)]

    def _measure(self, records: Sequence[Record], indices: Sequence[int], *, differentiable: bool) -> dict[str, Part]:
        mine = indices[self.fabric.global_rank :: self.fabric.world_size]
        if not mine:
            return {}
        batch = collate([records[i] for i in mine]).to(self.fabric.device)
        return self.aim.loss(self.state.potential, batch, differentiable=differentiable)

    def _evaluate(self, epoch: float) -> dict[str, Any]:
        """Validation with averaged weights; updates what depends on it."""
        counters, sums = self.state.counters, no_sums(self.aim.weights)
        with self.state.average.applied():
            for indices in self._plan(self.valid, 0, shuffle=False):
                measured = _as_sums(self._measure(self.valid, indices, differentiable=False), self.aim)
                sums = {n: [a + b for a, b in zip(sums[n], measured[n], strict=True)] for n in sums}
        sums = self._over_processes(sums)
        valid = summarise(sums, self.aim.weights)
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
            **{f"train_{name}": value for name, value in summarise(counters.sums, self.aim.weights).items()},
            **{f"valid_{name}": value for name, value in valid.items()},
        }
        counters.history.append(line)
        return line

    def _plan(self, records: Sequence[Record], epoch: int, *, shuffle: bool) -> list[list[int]]:
        size = {"batch_size": self.config.batch_size}
        if self.config.max_atoms is not None:
            size = {"max_atoms": self.config.max_atoms}
        return batches(records, seed=self.config.seed, epoch=epoch, shuffle=shuffle, **size)

    def _over_processes(self, sums: dict[str, list[float]]) -> dict[str, list[float]]:
        """Sums added over processes; all take the clock of the first, so that all decide alike."""
        self.state.counters.elapsed_s = time.monotonic() - self.clock
        if self.fabric.world_size == 1:
            return sums
        clock = self.state.counters.elapsed_s if self.fabric.is_global_zero else 0.0
        flat = [clock, *(value for values in sums.values() for value in values)]
        vector = torch.tensor(flat, dtype=torch.float64, device=self.fabric.device)
        added: Tensor = self.fabric.all_reduce(vector, reduce_op="sum")
        self.state.counters.elapsed_s, *rest = added.tolist()
        values = iter(rest)
        return {name: [next(values) for _ in measured] for name, measured in sums.items()}

    def _out_of_time(self) -> bool:
        limit = self.config.time_limit_minutes
        return limit is not None and self.state.counters.elapsed_s >= 60 * limit

    def _save(self) -> None:
        self.saved = time.monotonic()
        if self.fabric.is_global_zero:
            self.folder.save_checkpoint(self.state.counters.step, self.state.tensors(), self.state.document())

    def _refuse_hopeless(self, loss: float, indices: Sequence[int]) -> None:
        first = self.state.counters.step == 0
        if not abs(loss) < float("inf"):
            frames = ", ".join(str(i) for i in indices[:16])
            raise self._diverged("at the first step" if first else "", f" (training frames {frames})")
        if first and loss == 0.0:
            raise RunError(
                "E-LOSS-ZERO",
                "the loss of the first step is exactly 0",
                why="no real model is exact before training: labels are empty, or are the model's own predictions",
                fix="check which keys the labels were read from",
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


def _as_sums(parts: Mapping[str, Part], aim: Aim) -> dict[str, list[float]]:
    sums = no_sums(aim.weights)
    for name, part in parts.items():
        sums[name] = [float(part.loss.detach()), float(part.squares), float(part.absolutes), float(part.count)]
    return sums
