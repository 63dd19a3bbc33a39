"""The one door to a potential by name or by file. Nothing is ever loaded that was not named."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from groundstate.atoms import ModelError, OptionError
from groundstate.potentials import Potential, checkpoint
from groundstate.potentials.potential import identity
from groundstate.zoo import chgnet, mace, shipped
from groundstate.zoo.catalogue import Card, resolve
from groundstate.zoo.foreign import ase_calculator, description, external_model

_PICKLES = frozenset({".pt", ".pth", ".model", ".pkl", ".pickle", ".ckpt", ".tar"})
IN_PROCESS: dict[str, Callable[[Card, Literal["float32", "float64"]], Potential]] = {
    "chgnet": lambda card, precision: chgnet.CHGNet(precision),
    "groundstate": shipped.load,
}
"""Families whose networks are ours and run here; the others run in an environment of their own."""
BUILDERS: dict[str, checkpoint.Builder] = {"chgnet": chgnet.build}
"""How `checkpoint.load` makes the public models a file stands on."""
CONVERTERS: dict[str, Callable[..., object]] = {"mace": mace.convert}
"""How the files of other packages become model files of ours."""


def load(name_or_path: str | os.PathLike[str], *, precision: Literal["float32", "float64"] | None = None) -> Potential:
    """A public model by name (`chgnet`, `chgnet-0.3.0`, its id), or a model file by its path, ending in .safetensors.

    `ase:module:factory` is any ASE calculator importable here, in a process of its own.
    precision   of a public model's network; `None` is the one it was trained in. A model file states its own.
    Raises ModelError E-MODEL-UNKNOWN with the nearest names, E-PICKLE for files that would run code, RunError
    E-EXTRA-MISSING or E-ENVIRONMENT-MISSING with the line that installs what the model runs in.
    """
    path = Path(name_or_path)
    if os.fspath(name_or_path).startswith("ase:"):
        return ase_calculator(os.fspath(name_or_path))
    if path.suffix.lower() in _PICKLES:
        raise ModelError(
            "E-PICKLE",
            "the file is a pickle by its name, and reading a pickle runs whatever code it carries",
            file=str(path),
            fix="load a model file ending in .safetensors, or a public model by its name",
        )
    if path.suffix != ".safetensors" and not path.is_file():
        card = resolve(os.fspath(name_or_path))
        if card.family in IN_PROCESS:
            return IN_PROCESS[card.family](card, precision or "float32")
        return external_model(card, precision)
    if precision is not None:
        raise OptionError(
            "E-OPTION-CONFLICT",
            "a precision was given and the model comes from a file, which states its own",
            fix="leave the precision out",
            file=str(path),
        )
    return checkpoint.load(path, BUILDERS)


def recorded_as(name: str) -> dict[str, str]:
    """The fingerprint that results of a public model carry, by precision; known without loading it.

    Empty where no primary source states the hash of its weights: the first use fixes it.
    """
    card = resolve(name)
    if not card.weights.pinned:
        return {}
    if card.family == "groundstate":
        return {"float32": shipped.load(card).fingerprint(), "float64": shipped.load(card, "float64").fingerprint()}
    describe: Callable[..., dict[str, Any]] = chgnet.description if card.family == "chgnet" else _described
    return {precision: identity(describe(card, precision), {}) for precision in card.precisions}


def _described(card: Card, precision: str) -> dict[str, Any]:
    return description(card, precision, card.weights_sha256)
