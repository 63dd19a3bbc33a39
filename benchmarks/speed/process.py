"""A contender's process, seen from the one who asks."""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class LostError(Exception):
    """The process ended, or did not answer in time."""


class Process:
    """Started on the given cores, asked one question at a time; the first answer is what it says after loading.

    environment   variables beyond those of this process, e.g. of the allocator
    log           where what it prints goes
    """

    def __init__(
        self,
        python: Path,
        script: str,
        settings: Mapping[str, Any],
        *,
        cores: Sequence[int],
        environment: Mapping[str, str],
        log: Path,
        timeout_s: float,
    ) -> None:
        self.log = log
        variables = {**os.environ, **dict.fromkeys(_THREADS, str(len(cores))), **environment}
        variables.pop("PYTHONPATH", None)
        # Answers come by a pipe of their own: libraries print.
        self._answers, theirs = os.pipe()
        with log.open("a") as prints:
            self._process = subprocess.Popen(
                [str(python), str(_HERE / script)],
                stdin=subprocess.PIPE,
                stdout=prints,
                stderr=prints,
                pass_fds=[theirs],
                env=variables,
                preexec_fn=lambda: os.sched_setaffinity(0, cores) if hasattr(os, "sched_setaffinity") else None,
            )
        os.close(theirs)
        self._pending = b""
        self.hello = self.ask({**settings, "answers": theirs}, timeout_s)

    def ask(self, question: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer to one request. Raises LostError, with the process ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(question) + "\n").encode())
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(timeout_s))
        except (BrokenPipeError, EOFError):
            code = self._process.wait()
            self.close()
            raise LostError(f"its process ended with code {code}: {self._last_words()}") from None
        except TimeoutError:
            self.close()
            raise LostError(f"no answer within {timeout_s:.0f} s") from None
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1

    def _line(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                if not (read := os.read(self._answers, 65536)):
                    raise EOFError
                self._pending += read
        line, self._pending = self._pending.split(b"\n", 1)
        return line

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"
