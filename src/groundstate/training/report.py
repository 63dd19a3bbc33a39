"""What a run says while it goes: one progress line, metrics.jsonl, a learning curve, and TensorBoard on request."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from groundstate.atoms import RunError
from groundstate.training.pictures import learning_curve
from groundstate.training.run_folder import RunFolder

_DRAWN_EVERY_S = 30.0


class Report:
    """Open for the length of a run, in the process that writes; silent unless `progress`."""

    def __init__(self, folder: RunFolder, *, epochs: int, start: int, progress: bool, tensorboard: bool) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._writer: Any = _tensorboard(folder) if tensorboard else None
        self._bar: Progress | None = None
        self._history: Sequence[Mapping[str, Any]] = ()
        self._drawn = self._begun = time.monotonic()
        self._structures = 0
        self._task = TaskID(0)
        if progress:
            self._bar = Progress(
                TextColumn("epoch"),
                MofNCompleteColumn(),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                TextColumn("{task.fields[rate]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=epochs, completed=start, rate="")

    def __enter__(self) -> "Report":
        if self._bar is not None:
            self._stack.enter_context(self._bar)
        if self._writer is not None:
            self._stack.callback(self._writer.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if self._history:
            self._draw()

    def note(self, message: str) -> None:
        """One line for people, above the bar."""
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)

    def step(self, epoch: float, structures: int) -> None:
        """Move the line; `epoch` counts fractions."""
        self._structures += structures
        if self._bar is not None:
            rate = self._structures / max(time.monotonic() - self._begun, 1e-3)
            self._bar.update(self._task, completed=epoch, rate=f"{rate:.3g} structures/s")

    def evaluation(self, history: Sequence[Mapping[str, Any]]) -> None:
        """The last of these lines of numbers under flat names is new."""
        line = history[-1]
        self._folder.append_metrics(line)
        self._history = history
        if time.monotonic() - self._drawn > _DRAWN_EVERY_S:
            self._draw()
        if self._writer is not None:
            for name, value in line.items():
                self._writer.add_scalar(name, value, line["step"])
        if self._bar is not None:
            self._bar.update(self._task, description=f"validation loss {line['valid_loss']:.3g}")

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._folder.write("learning_curve.png", learning_curve(self._history))


def _tensorboard(folder: RunFolder) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING",
            "TensorBoard logs were asked for and tensorboard is not installed",
            fix="install it: pip install 'groundstate[tensorboard]'; metrics.jsonl holds the same numbers",
        ) from None
    return SummaryWriter(str(folder.path / "tensorboard"))
