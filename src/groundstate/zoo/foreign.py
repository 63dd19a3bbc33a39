"""Public models that run in the environment of their own package, behind our interface."""

from collections.abc import Mapping
from typing import Any

from groundstate.atoms import Domain, OptionError
from groundstate.external import ExternalPotential, Worker
from groundstate.zoo.catalogue import Card
from groundstate.zoo.families import DRIVER, family
from groundstate.zoo.weights import located

_VACUUM = 2.0
"""Å beyond the cutoff that keep images of an open structure apart."""
_FAR = 20.0
"""Å; vacuum around open structures for a model that states no cutoff."""
_USUAL = 6.0
"""Å; said to be the cutoff of a model that states none: here only our own unused neighbour lists depend on it."""


def external_model(card: Card, precision: str | None = None) -> ExternalPotential:
    """The model of a card in a process of its own; the process starts with the first question.

    Raises RunError E-ENVIRONMENT-MISSING, ModelError E-WEIGHTS-MISSING or E-WEIGHTS, OptionError E-PRECISION.
    """
    chosen = precision or card.precisions[0]
    if chosen not in card.precisions:
        raise OptionError(
            "E-PRECISION", f"{card.name} does not compute in {chosen}", fix=f"use {' or '.join(card.precisions)}"
        )
    runs = family(card.family)
    python = runs.environment.python
    files, digest = located(card, python)
    settings = {
        **card.settings,
        "maker": str(runs.maker),
        "file": str(files[0] if len(files) == 1 else files[0].parent),
        "precision": chosen,
        "device": "cpu",
        "sees": [name for name in ("charge", "multiplicity") if card.conditions[name] != "ignores"],
    }
    worker = Worker(DRIVER, settings, python=python, name=card.name)
    return ExternalPotential(
        worker,
        description(card, chosen, digest),
        domain=card.domain if card.elements else _domain_of(card, worker),
        cutoff=card.cutoff or _USUAL,
        theories=(card.theory,),
        provides=frozenset(card.outputs),
        conservative=card.conservative,
        vacuum=(card.cutoff or _FAR) + _VACUUM if runs.boxed else None,
    )


def description(card: Card, precision: str, digest: str) -> dict[str, Any]:
    """What fixes the potential of a card."""
    given = {key: card.settings[key] for key in sorted(card.settings)}
    return {
        "kind": card.name,
        "version": card.version,
        "weights_sha256": digest,
        "precision": precision,
        "settings": given,
    }


def ase_calculator(name: str) -> ExternalPotential:
    """`ase:module:factory` (and `?key=value&…`): any ASE calculator importable here, in a process of its own.

    It declares no domain, no theory and no cutoff, and calls itself conservative because its maker must know.
    """
    _, _, rest = name.partition(":")
    maker, _, query = rest.partition("?")
    module, _, factory = maker.partition(":")
    if not module or not factory:
        raise OptionError(
            "E-MODEL-ASE",
            f"'{name}' names no calculator",
            fix="write ase:MODULE:FACTORY, e.g. ase:ase.calculators.emt:EMT",
        )
    arguments = dict(_argument(part) for part in query.split("&") if part)
    worker = Worker(DRIVER, {"maker": maker, "arguments": arguments}, name=maker)
    described = {"kind": "ase", "calculator": maker, "arguments": arguments}
    return ExternalPotential(worker, described, domain=Domain(), cutoff=_USUAL)


def _argument(part: str) -> tuple[str, Any]:
    key, equals, text = part.partition("=")
    if not equals:
        raise OptionError("E-MODEL-ASE", f"'{part}' is not key=value", fix="write ?key=value&key=value")
    for kind in (int, float):
        try:
            return key, kind(text)
        except ValueError:
            continue
    return key, {"true": True, "false": False}.get(text.lower(), text)


def _domain_of(card: Card, worker: Worker) -> Domain:
    """The card's, with the elements the weights themselves list, where the card lists none."""
    facts: Mapping[str, Any] = worker.facts
    elements = frozenset(int(z) for z in facts.get("elements", ()))
    return Domain(elements=elements or None, **card.conditions)  # type: ignore[arg-type]
