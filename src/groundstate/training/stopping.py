"""How a run ends when it is told to, and how all processes of a run end when one of them fails."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from groundstate.atoms import GroundstateError

_TOLD_BY = ("SIGTERM", "SIGINT", "SIGUSR1")
"""What schedulers send before they kill (SLURM: --signal=USR1@90), and Ctrl-C; not every system has all of them."""
INTERRUPTED = "E-RUN-INTERRUPTED"
"""Code of an end that all processes agreed on."""
_KEY = "first error"
_EVERY_S = 0.5
_LAST_WORDS_S = 3.0


class Interruption:
    """Within it, a signal to end is noted instead of obeyed: the loop writes a checkpoint at its next step and stops.

    A second Ctrl-C ends at once. Outside the main thread signals keep their meaning.
    """

    def __init__(self) -> None:
        self.signal = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            known = [signal.Signals[name] for name in _TOLD_BY if name in signal.Signals.__members__]
            self._before = {number: signal.signal(number, self._note) for number in known}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


class SharedFate:
    """Within it, the failure of one process ends all, and each says what failed first.

    The others would wait in a collective operation until its time runs out, half an hour later. A thread in each looks
    for the news in the store that brought the processes together.
    """

    def __init__(self, fabric: Any) -> None:
        self._rank, self._done = fabric.global_rank, threading.Event()
        self._store: Any = None
        if fabric.world_size > 1:
            import torch.distributed as dist

            self._store = dist.PrefixStore("groundstate", dist.distributed_c10d._get_default_store())

    def __enter__(self) -> "SharedFate":
        if self._store is not None:
            threading.Thread(target=self._watch, name="shared-fate", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._store is None or error is None or getattr(error, "code", "") == INTERRUPTED:
            return
        said = str(error) if isinstance(error, GroundstateError) else f"{type(error).__name__}: {error}"
        try:
            self._store.set(_KEY, f"process {self._rank}: {said}")
        except RuntimeError:
            return  # the process that keeps the store is gone, which the others notice as well
        if self._rank == 0:
            # It keeps the store: the others must be able to read it before it ends.
            threading.Event().wait(_LAST_WORDS_S)

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            try:
                if not self._store.check([_KEY]):
                    continue
                news = self._store.get(_KEY).decode()
            except RuntimeError:
                news = "process 0 is gone"
            if not self._done.is_set():
                self._end(news)

    def _end(self, news: str) -> None:
        sys.stderr.write(f"process {self._rank} ends because another failed first: {news}\n")
        sys.stderr.flush()
        # The main thread waits in a collective operation that no exception reaches.
        os._exit(1)
