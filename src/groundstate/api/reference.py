"""Verbs that ask quantum mechanics: label, check."""

from collections.abc import Mapping, Sequence
from typing import Any

from groundstate import quantum
from groundstate.api.sources import File, Source, load, systems
from groundstate.quantum import Engine, Label, Reference, Verification, verify
from groundstate.simulation import Callback, Progress, silent


def label(
    source: Source,
    engine: "str | Engine",
    *,
    output: File | None = None,
    want: Sequence[str] | None = None,
    processes: int = 1,
    threads: int = 1,
    timeout_s: float = 3600.0,
    retry: bool = False,
    progress: Callback = silent,
    **options: Any,
) -> list[Label]:
    """The reference label of every structure, or why it has none; `options` are fields of the engine.

    `gs.label("rattled.extxyz", "gpaw", method="PBE", output="labels", processes=2)`. With `output` every finished label
    is on disk at once, the same call continues after an interruption, and nothing is computed twice.
    """
    with Reference(
        _engine(engine, options),
        folder=output,
        want=want,
        processes=processes,
        threads=threads,
        timeout_s=timeout_s,
        retry=retry,
    ) as reference:
        return reference.compute(systems(source), _steps(progress))


def check(
    source: Source,
    model: Any,
    engine: "str | Engine",
    *,
    output: File | None = None,
    processes: int = 1,
    threads: int = 1,
    timeout_s: float = 3600.0,
    retry: bool = False,
    progress: Callback = silent,
    **options: Any,
) -> Verification:
    """A model against quantum mechanics on these structures; `options` are fields of the engine."""
    with Reference(
        _engine(engine, options), folder=output, processes=processes, threads=threads, timeout_s=timeout_s, retry=retry
    ) as reference:
        return verify(load(model).potential, systems(source), reference, _steps(progress))


def _engine(named: "str | Engine", options: Mapping[str, Any]) -> Engine:
    return quantum.engine(named, options) if isinstance(named, str) else named


def _steps(progress: Callback) -> Any:
    return lambda done, total, message: progress(Progress(done, total, "structures", message))
