"""Reference labels of many structures: several processes at once, each label kept when it is finished."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from torch import Tensor

from groundstate.atoms import (
    GroundstateError,
    LevelOfTheory,
    OptionError,
    System,
    UndefinedPropertyError,
    judge,
    nearest,
    quantities,
)
from groundstate.data import Provenance, Record
from groundstate.external import Worker
from groundstate.quantum.engine import Engine, settings
from groundstate.quantum.store import Answered, Store, label_key, opened

Step = Callable[[int, int, str], None]
"""Told after each structure: finished, of how many, a line for people."""


def silent(done: int, total: int, message: str) -> None:
    """The default: nothing is said."""


@dataclass(frozen=True, eq=False)
class Label:
    """One structure with what the engine said of it, or the reason why there is no number.

    values   quantities, float64, without a system axis · seconds of the calculation · known: it was on disk already
    """

    system: System
    values: Mapping[str, Tensor]
    problem: GroundstateError | None
    theory: LevelOfTheory
    seconds: float
    known: bool

    def as_record(self, tags: Mapping[str, str] | None = None) -> Record:
        """For files and training, with the tags its structure had. What the table of quantities does not hold, and a
        failure, become tags."""
        table = quantities()
        labels = {name: value for name, value in self.values.items() if name in table}
        tags = dict(tags or {}) | {
            name: " ".join(repr(float(x)) for x in value.reshape(-1))
            for name, value in self.values.items()
            if name not in table
        }
        if self.problem is not None:
            tags["label_failed"] = str(self.problem)
        else:
            tags["label_seconds"] = f"{self.seconds:.3g}"
        return Record(self.system, labels, self.theory if self.problem is None else None, Provenance(tags=tags))


class Reference:
    """An engine at work: the `Labeller` of this room.

    folder      keeps every label; a run that was killed continues, and nothing is computed twice
    processes   structures computed at the same time · threads: of each process
    timeout_s   for one structure · retry: compute again what failed before; what was killed or slow always is
    want        quantities of a label; by default energy, forces, and the stress where engine and structure have one
    Use it as a context manager, or call `close`. Checked: tests/quantum/test_labeller.py, test_labels_survive.py
    """

    def __init__(
        self,
        engine: Engine,
        *,
        folder: str | Path | None = None,
        want: Sequence[str] | None = None,
        processes: int = 1,
        threads: int = 1,
        timeout_s: float = 3600.0,
        retry: bool = False,
    ) -> None:
        for name in want or ():
            if name not in engine.provides:
                raise OptionError(
                    "E-PROPERTY-UNDEFINED",
                    f"{engine.name} does not compute '{name}' at these settings",
                    fix=nearest(name, engine.provides),
                )
        if processes < 1 or threads < 1:
            raise OptionError("E-OPTION-RANGE", "processes and threads are counts", fix="give whole numbers ≥ 1")
        self.engine, self.folder, self.retry = engine, None if folder is None else Path(folder), retry
        self._want = None if want is None else tuple(want)
        environment = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._workers = [
            Worker(
                engine.driver,
                settings(engine),
                python=engine.interpreter(),
                timeout_s=timeout_s,
                name=engine.name,
                environment=environment,
            )
            for _ in range(processes)
        ]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the program says of itself: its version. Starts it."""
        return self._workers[0].facts

    @cached_property
    def theory(self) -> LevelOfTheory:
        """The level of theory of every label."""
        return self.engine.theory(self.facts)

    @cached_property
    def origin(self) -> dict[str, Any]:
        """Settings and versions: what a label depends on beside its structure."""
        return {"engine": self.engine.name, "settings": settings(self.engine), "program": self.facts}

    def label(self, systems: System) -> list[Record]:
        """Records in order; one that failed has no labels and says why in its tag `label_failed`."""
        return [label.as_record() for label in self.compute(systems)]

    def compute(self, systems: Iterable[System], progress: Step = silent) -> list[Label]:
        """The label of every structure, in order; `systems` is a batch, or single structures."""
        singles = [single for system in systems for single in system]
        verdicts = [self._refusal(single) for single in singles]
        wants = [self.wanted(single) for single in singles]
        keys = [label_key(single, self.origin, want) for single, want in zip(singles, wants, strict=True)]
        with opened(self.folder) as store:
            before = self._finished(store, keys)
            asked: dict[str, tuple[System, tuple[str, ...]]] = {}
            for key, single, want, refused in zip(keys, singles, wants, verdicts, strict=True):
                if refused is None and key not in before:
                    asked.setdefault(key, (single, want))
            total = sum(refused is None for refused in verdicts)
            progress(total - len(asked), total, f"{total - len(asked)} on disk" if self.folder else "")
            for done, (key, answered) in enumerate(self._computed(asked), start=total - len(asked) + 1):
                store.commit(key, self.origin, answered)
                failed = "" if answered.problem is None else f", failed: {answered.problem.code}"
                progress(done, total, f"{answered.seconds:.1f} s{failed}")
            return [
                self._told(single, store.get(key), refused, key in before)
                for key, single, refused in zip(keys, singles, verdicts, strict=True)
            ]

    def wanted(self, single: System) -> tuple[str, ...]:
        """What is asked of this structure: a molecule has no stress."""
        want = self._want or tuple(n for n in ("energy", "forces", "stress") if n in self.engine.provides)
        return want if bool(single.pbc.all()) else tuple(name for name in want if name != "stress")

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()

    def __enter__(self) -> "Reference":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refusal(self, single: System) -> GroundstateError | None:
        if problems := judge(single, self.engine.domain)[0].problems:
            return problems[0]
        if not self.wanted(single):
            why = "a structure with open directions has no volume to divide by"
            return UndefinedPropertyError("E-PROPERTY-UNDEFINED", "'stress' cannot be given", why=why)
        return self.engine.refusal(single)

    def _finished(self, store: Store, keys: Sequence[str]) -> set[str]:
        known = {key: store.get(key) for key in keys}
        return {key for key, old in known.items() if old is not None and not self._again(old.problem)}

    def _again(self, problem: GroundstateError | None) -> bool:
        # A calculation that was killed or took too long says nothing of its structure.
        return problem is not None and (self.retry or problem.code in ("E-EXTERNAL-DIED", "E-EXTERNAL-TIMEOUT"))

    def _told(self, single: System, answered: Answered | None, refused: GroundstateError | None, known: bool) -> Label:
        if refused is not None or answered is None:
            return Label(single, {}, refused, self.theory, 0.0, False)
        return Label(single, answered.values, answered.problem, self.theory, answered.seconds, known)

    def _computed(self, asked: Mapping[str, tuple[System, tuple[str, ...]]]) -> Iterator[tuple[str, Answered]]:
        """Labels as they are finished. What is under way when the caller gives up is ended with its processes."""
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            idle.put(worker)

        def one(key: str) -> tuple[str, Answered]:
            worker = idle.get()
            try:
                return key, _asked(worker, *asked[key])
            finally:
                idle.put(worker)

        pool = ThreadPoolExecutor(len(self._workers))
        pending: set[Future[tuple[str, Answered]]] = {pool.submit(one, key) for key in asked}
        try:
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if pending:
                self.close()


def _asked(worker: Worker, single: System, want: Sequence[str]) -> Answered:
    started = time.monotonic()
    answer = worker.ask(single, want)[0]
    seconds = time.monotonic() - started
    if isinstance(answer, GroundstateError):
        return Answered({}, answer, seconds)
    missing = [name for name in want if name not in answer]
    values = {name: answer[name] for name in want if name in answer}
    wrong = [name for name, value in values.items() if not bool(value.isfinite().all())]
    if missing:
        what = f"{worker.name} gave no {', '.join(missing)}"
        return Answered({}, GroundstateError("E-EXTERNAL-MISSING", what, fix="mend its driver"), seconds)
    if wrong:
        what = f"{', '.join(wrong)} of {worker.name} is not finite"
        return Answered({}, GroundstateError("E-LABEL-NOT-FINITE", what, fix="look at its input by hand"), seconds)
    return Answered(values, None, seconds)
