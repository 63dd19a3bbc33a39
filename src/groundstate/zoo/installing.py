"""What of a public model is on this machine, and how it gets there or leaves.

Checked: tests/zoo/test_installing.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from groundstate.atoms import OptionError, RunError
from groundstate.zoo import weights
from groundstate.zoo.catalogue import Card, cards, resolve
from groundstate.zoo.families import Family, families, family
from groundstate.zoo.loading import IN_PROCESS

Say = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """`word` for a table: ready, not installed, weights missing; `fix`: what to do, empty when ready."""

    word: str
    fix: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can be loaded."""
        return self.word == "ready"


def state(card: Card) -> State:
    """Whether a model can be loaded now; looks at files only, starts nothing but one interpreter per environment."""
    if card.family in IN_PROCESS:
        there = find_spec(card.family) is not None
        return State("ready") if there else State("not installed", card.install)
    runs = family(card.family)
    if not runs.environment.installed:
        return State("not installed", f"run `groundstate models install {card.name}`")
    try:
        there = all(path.is_file() for path in weights.paths(card, runs.environment.python))
    except RunError as error:  # an interpreter that was named and does not start
        return State("not installed", str(error))
    if there:
        return State("ready")
    return State("weights missing", weights.how_to_get(card))


def install(
    name: str,
    *,
    python: str | None = None,
    index: str | None = None,
    offline_file: Path | None = None,
    overwrite: bool = False,
    reinstall: bool = False,
    say: Say = lambda line: None,
) -> State:
    """Make the environment of a model or a family, and bring the weights where they can be had.

    python        an interpreter of the user's own that has the package: it is remembered, nothing is installed
    index         further package index, e.g. PyTorch's own for a build of torch
    offline_file  weights that a person brought; checked against the card or fixed by this first use
    overwrite     replace weights that are there · reinstall: make the environment anew
    Returns the state of the model; a family counts as ready when its environment is.
    """
    card = None if name in families() else resolve(name)
    if card is not None and card.family in IN_PROCESS:
        now = state(card)
        if not now.ready:
            raise RunError(
                "E-EXTRA-MISSING", f"{card.name} runs in this process, and its package is missing", fix=now.fix
            )
        return now
    runs = family(card.family if card is not None else name)
    if offline_file is not None and card is None:
        raise OptionError("E-OPTION-CONFLICT", f"'{name}' is a family, and weights belong to a model", fix="name it")
    if reinstall:
        runs.environment.remove()
    _environment(runs, python, index, say)
    if card is None:
        return State("ready")
    if offline_file is not None:
        say(f"weights: {weights.bring(card, offline_file, overwrite=overwrite)}")
    now = state(card)
    if now.word == "weights missing" and card.weights.source == "download":
        weights.fetch(card, report=_tenths(say))
        now = state(card)
    if now.ready:
        weights.located(card, runs.environment.python)
    return now


def remove(name: str, *, say: Say = lambda line: None) -> None:
    """Remove the weights of a model, and the environment of its family when no other model here needs it."""
    card = None if name in families() else resolve(name)
    if card is not None and card.family in IN_PROCESS:
        raise OptionError("E-OPTION-CONFLICT", f"{card.name} runs in this process", fix=f"pip uninstall {card.family}")
    runs = family(card.family if card is not None else name)
    if card is not None and weights.forget(card):
        say(f"removed the weights of {card.id}")
    others = [
        other.name
        for other in cards().values()
        if card is not None and other.family == runs.name and other.key != card.key and state(other).ready
    ]
    if others:
        say(f"kept the environment: {', '.join(others)} run in it (`groundstate models remove {runs.name}`)")
        return
    if runs.environment.remove():
        say(f"removed the environment of {runs.title}")


def _environment(runs: Family, python: str | None, index: str | None, say: Say) -> None:
    if python is None:
        runs.environment.install(say=say, index=index)
        return
    runs.environment.adopt(python)
    say(f"{runs.title} runs under {python}")


def _tenths(say: Say) -> weights.Report:
    """A report that speaks ten times during a download."""
    said: set[int] = set()

    def report(done: int, total: int) -> None:
        tenth = 10 * done // total if total else done // 100_000_000
        if tenth not in said:
            said.add(tenth)
            say(f"weights: {done / 1e6:.0f}" + (f" of {total / 1e6:.0f} MB" if total else " MB"))

    return report
