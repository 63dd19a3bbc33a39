"""Progress of long calculations: a callback that a caller may give, and a bar with remaining time for terminals."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` in `unit` (structures or steps); `message` is one line for people."""

    done: int
    total: int
    unit: str
    message: str = ""


Callback = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The default: nothing is said."""


@contextmanager
def progress_bar(description: str) -> Iterator[Callback]:
    """A bar on standard error with elapsed and remaining time, for use as the `progress` of a calculation."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[message]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(description, total=None, message="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total, message=progress.message)

        yield show
