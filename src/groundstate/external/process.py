"""A driver at work in another process: asked for batches, restarted when it dies, stopped when it takes too long."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from groundstate.atoms import GroundstateError, RunError, StructureError, System, quantities
from groundstate.external import worker

Answer = dict[str, Tensor] | GroundstateError


class Worker:
    """One process that serves one driver (see `external/worker.py` for what a driver is).

    driver      the Python file · settings: what its `start` is given, plain data
    python      interpreter to run it under; `None`: the one running now
    timeout_s   for one structure; a batch of n may take n times as long · start_timeout_s: until it is ready
    name        what people call it, in refusals
    environment variables set for it, beside those of this process (`None` as a value removes one)
    The process starts with the first question and again after it died or was stopped. Use it as a context manager, or
    let it be collected: no process is left behind.
    Checked: tests/external/test_worker.py
    """

    def __init__(
        self,
        driver: Path,
        settings: Mapping[str, Any],
        *,
        python: str | Path | None = None,
        timeout_s: float = 600.0,
        start_timeout_s: float = 600.0,
        name: str = "",
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.driver, self.settings = Path(driver), dict(settings)
        self.python = str(python or sys.executable)
        self.timeout_s, self.start_timeout_s = timeout_s, start_timeout_s
        self.name = name or self.driver.stem
        self._changes = dict(environment or {})
        self._process: _Process | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the driver says of itself; starts it. Raises RunError when it does not start."""
        return self._running().facts

    def ask(self, system: System, want: Sequence[str]) -> list[Answer]:
        """Quantities of each structure, float64, without the leading system axis, or why there are none.

        When the process dies or takes too long over a batch, its structures are asked one by one, so that only the
        guilty one is refused. Raises RunError when the driver does not start.
        """
        answers = self._asked(system, want)
        if isinstance(answers, GroundstateError):
            if system.n_systems == 1:
                return [answers]
            return [answer for single in system for answer in self.ask(single, want)]
        return answers

    def stop(self) -> None:
        """End the process, if it runs."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _asked(self, system: System, want: Sequence[str]) -> list[Answer] | RunError:
        process = self._running()
        allowed = self.timeout_s * system.n_systems
        try:
            process.tell({"want": list(want)}, _arrays(system))
            reply = process.heard(allowed)
        except TimeoutError:
            self.stop()
            return RunError(
                "E-EXTERNAL-TIMEOUT",
                f"{self.name} took more than {allowed:g} s and was stopped",
                fix="allow it more time, or take a smaller structure or cheaper settings",
            )
        except (OSError, EOFError):
            said = process.last_words()
            self.stop()
            return RunError("E-EXTERNAL-DIED", f"{self.name} ended in the middle of a calculation ({said})")
        header, arrays = reply
        return [
            _refusal(self.name, error) if error else _tensors(self.name, single, s, arrays)
            for s, (error, single) in enumerate(zip(header["errors"], system, strict=True))
        ]

    def _running(self) -> "_Process":
        if self._process is None:
            self._process = self._started()
        return self._process

    def _started(self) -> "_Process":
        variables = {**os.environ, **self._changes}
        if self.python != sys.executable:  # another interpreter must not find the packages of this one
            variables = {k: v for k, v in variables.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        words = [self.python, str(Path(worker.__file__)), str(self.driver.resolve())]
        try:
            process = _Process(words, {k: v for k, v in variables.items() if v is not None})
        except OSError as error:
            raise RunError(
                "E-EXTERNAL-PYTHON",
                f"'{self.python}' does not start ({error.strerror})",
                fix=f"give the interpreter of an environment that has {self.name}",
            ) from error
        try:
            process.tell(self.settings, {})
            header, _ = process.heard(self.start_timeout_s)
        except (OSError, EOFError, TimeoutError) as error:
            said = process.last_words()
            process.end()
            reason = "was not ready in time" if isinstance(error, TimeoutError) else "ended while it started"
            raise RunError("E-EXTERNAL-START", f"{self.name} {reason} ({said})", fix=_BY_HAND) from error
        if "error" in header:
            process.end()
            told = header["error"]
            raise RunError(
                told["code"] or "E-EXTERNAL-START", f"{self.name} does not start: {told['what']}", fix=_BY_HAND
            )
        process.facts = header["facts"]
        return process


_BY_HAND = "see `groundstate doctor`; install the program, or give the interpreter of an environment that has it"


class _Process:
    """The process with its pipe, its log and the thread that listens to it."""

    def __init__(self, words: Sequence[str], variables: Mapping[str, str]) -> None:
        self.facts: dict[str, Any] = {}
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 — lives as long as the process
        try:
            self.child = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                env=dict(variables),
                start_new_session=os.name == "posix",
            )
        except OSError:
            self.log.close()
            raise
        self._heard: queue.Queue[tuple[dict[str, Any], dict[str, Any]] | None] = queue.Queue()
        listener = threading.Thread(target=_listen, args=(self.child.stdout, self._heard), daemon=True)
        listener.start()
        self.end = weakref.finalize(self, _end, self.child, self.log, listener)

    def tell(self, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        assert self.child.stdin is not None, "the process was started with a pipe"
        worker.send(self.child.stdin, header, arrays)  # type: ignore[arg-type]

    def heard(self, timeout_s: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """The next message; TimeoutError when there is none in time, EOFError when the process is gone."""
        try:
            message = self._heard.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if message is None:
            raise EOFError
        return message

    def last_words(self) -> str:
        """The last line it wrote to standard error, or how it ended."""
        self.log.seek(0)
        lines = [line for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        try:
            code: int | None = self.child.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            code = None
        ended = "" if code is None else f", exit code {code}"
        return (lines[-1].strip()[:300] if lines else "it said nothing") + ended


def _listen(stream: Any, heard: "queue.Queue[Any]") -> None:
    with stream:
        while (message := worker.receive(stream)) is not None:
            heard.put(message)
    heard.put(None)


def _end(child: "subprocess.Popen[bytes]", log: IO[bytes], listener: threading.Thread) -> None:
    """End the process and what it started."""
    if child.stdin is not None and not child.stdin.closed:
        with contextlib.suppress(OSError):  # it was gone before
            child.stdin.close()
    if child.poll() is None:
        try:
            child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if os.name == "posix":
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
            child.wait()
    listener.join()
    log.close()


def _arrays(system: System) -> dict[str, Any]:
    names = ("positions", "numbers", "system_ptr", "cell", "pbc", "charge", "multiplicity")
    given = {name: getattr(system, name) for name in names}
    return {name: value.detach().cpu().numpy() for name, value in given.items() if value is not None}


def _tensors(name: str, single: System, s: int, arrays: Mapping[str, Any]) -> Answer:
    """The answer of structure `s`; a known quantity of the wrong shape is refused, it would be a wrong number later."""
    found = {}
    for key, array in arrays.items():
        number, _, label = key.partition(".")
        if number != str(s):
            continue
        value = torch.from_numpy(np.array(array, dtype=np.float64))
        row = quantities().get(label)
        if row is not None and label != "hessian":
            shape = (*([single.n_atoms] if row.per == "atom" else []), *row.shape)
            if tuple(value.shape) != shape:
                what = f"{name} gave '{label}' of shape {tuple(value.shape)}, expected {shape}"
                return RunError("E-EXTERNAL-SHAPE", what, fix="mend its driver")
        found[label] = value.to(single.device)
    return found


def _refusal(name: str, error: Mapping[str, str]) -> GroundstateError:
    what = f"{name}: {error['what']}"
    return StructureError(error["code"] or "E-EXTERNAL-FAILED", what, why="a failed calculation gives no number")
