"""Verbs about public models: install, remove, and all that is known of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundstate import zoo
from groundstate.api.sources import File
from groundstate.zoo import State
from groundstate.zoo.measured import summary

Say = Callable[[str], None]


def install(
    name: str,
    *,
    python: str | None = None,
    index: str | None = None,
    offline_file: File | None = None,
    overwrite: bool = False,
    reinstall: bool = False,
    say: Say = lambda line: None,
) -> State:
    """Make the environment of a public model or family and bring its weights; see `zoo.install`."""
    return zoo.install(
        name,
        python=python,
        index=index,
        offline_file=None if offline_file is None else Path(offline_file),
        overwrite=overwrite,
        reinstall=reinstall,
        say=say,
    )


def remove(name: str, *, say: Say = lambda line: None) -> None:
    """Remove the weights of a public model, and the environment that no other model here needs."""
    zoo.remove(name, say=say)


def model_facts(name: str) -> dict[str, Any]:
    """The card of a public model, whether it can be loaded here, what results record, and which laws it keeps."""
    card = zoo.resolve(name)
    state = zoo.state(card)
    return {
        **card.as_dict(),
        "state": state.word,
        "fix": state.fix,
        "recorded_as": zoo.recorded_as(name),
        "laws": summary(card) or "not examined: groundstate laws " + card.name,
    }
