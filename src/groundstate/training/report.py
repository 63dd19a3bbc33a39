"""What a run says while it goes: one progress line, metrics.jsonl, and TensorBoard on request."""

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from groundstate.atoms import RunError
from groundstate.training.run_folder import RunFolder


class Report:
    """Open for the length of a run, in the process that writes; silent unless `progress`."""

    def __init__(self, folder: RunFolder, *, epochs: int, start: int, progress: bool, tensorboard: bool) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._writer: Any = _tensorboard(folder) if tensorboard else None
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if progress:
            self._bar = Progress(
                TextColumn("epoch"),
                MofNCompleteColumn(),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=epochs, completed=start)

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

    def note(self, text: str) -> None:
        """A sentence above the line."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)

    def step(self, epoch: float) -> None:
        """Move the line; `epoch` counts fractions."""
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch)

    def evaluation(self, line: Mapping[str, Any]) -> None:
        """One line of the log: numbers under flat names."""
        self._folder.append_metrics(line)
        if self._writer is not None:
            for name, value in line.items():
                self._writer.add_scalar(name, value, line["step"])
        if self._bar is not None:
            self._bar.update(self._task, description=f"validation loss {line['valid_loss']:.3g}")


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
