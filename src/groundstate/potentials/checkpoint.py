"""The model file: safetensors with one JSON document in its header. Loading never runs code.

The document holds the schema version, the description a builder makes the potential from, its fingerprint, and notes
(training data hashes, recipe, licence, errors). Structures that the model remembers lie beside its weights, in single
precision. The fingerprint is computed again on loading, so a damaged or edited file cannot pass as the model it names.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from groundstate.atoms import ModelError, System, nearest
from groundstate.data.files import write_whole
from groundstate.potentials.committee import Committee
from groundstate.potentials.mace import rebuild
from groundstate.potentials.potential import Potential, Sum

SCHEMA = 1
Builder = Callable[[dict[str, Any]], Potential]
_REMEMBERED = "remembered/"
_OWN: dict[str, Builder] = {"mace": rebuild}
_OF_PARTS: dict[str, type[Sum]] = {"sum": Sum, "committee": Committee}


def save(potential: Potential, path: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None) -> str:
    """Write the potential atomically; returns its fingerprint. An existing file is replaced only when complete."""
    target = Path(path)
    document = {
        "schema": SCHEMA,
        "description": potential.describe(),
        "fingerprint": potential.fingerprint(),
        "notes": dict(notes or {}),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in potential.state_dict().items()}
    if potential.remembered is not None:
        tensors |= {_REMEMBERED + name: tensor for name, tensor in _packed(potential.remembered).items()}
    content = to_bytes(tensors, metadata={"groundstate": json.dumps(document, sort_keys=True)})
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)
    return str(document["fingerprint"])


def load(path: str | os.PathLike[str], builders: Mapping[str, Builder] | None = None) -> Potential:
    """The potential in a model file; `builders` make the kinds that live outside this room (public models)."""
    document = inspect(path)
    known = {**_OWN, **(builders or {})}
    potential = _build(document["description"], known, str(path))
    with safe_open(str(path), framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 — not a mapping
    packed = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_REMEMBERED)}
    expected = potential.state_dict()
    if set(tensors) != set(expected) or any(tensors[name].shape != expected[name].shape for name in tensors):
        raise _damaged(path, "its tensors are not those its description asks for")
    potential.load_state_dict(tensors)
    if potential.fingerprint() != document["fingerprint"]:
        raise _damaged(path, "its content does not match its fingerprint")
    if packed:
        potential.remembered = _unpacked({name.removeprefix(_REMEMBERED): t for name, t in packed.items()})
    return potential.eval().requires_grad_(False)


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON document of a model file, without building the model."""
    _refuse_foreign(Path(path))
    try:
        with safe_open(str(path), framework="pt") as stored:
            text = (stored.metadata() or {}).get("groundstate")
    except SafetensorError as error:
        raise _damaged(path, f"it does not parse ({error})") from error
    if text is None:
        raise ModelError(
            "E-MODEL-FOREIGN",
            "the file holds tensors but no groundstate model",
            file=str(path),
            why="nothing says how to use them",
            fix="convert it from its own package",
        )
    document: dict[str, Any] = json.loads(text)
    if document["schema"] > SCHEMA:
        raise ModelError(
            "E-MODEL-NEWER",
            f"the model file has schema {document['schema']}, this version reads up to {SCHEMA}",
            file=str(path),
            fix="upgrade groundstate",
        )
    return document


_STANDARD = ("masses",)
_SMALL = {"numbers": torch.uint8, "system_ptr": torch.int32, "multiplicity": torch.uint8, "theory": torch.int16}


def _packed(system: System) -> dict[str, Tensor]:
    """What of structures is given, in little room."""
    found: dict[str, Tensor] = {}
    for name in (f.name for f in fields(system)):
        value = getattr(system, name)
        if value is not None and name not in _STANDARD:
            kind = torch.float32 if value.is_floating_point() else _SMALL.get(name, value.dtype)
            found[name] = value.detach().cpu().to(kind).contiguous()
    return found


def _unpacked(tensors: Mapping[str, Tensor]) -> System:
    """Inverse of `_packed` but for the precision; masses are the standard ones."""
    wide = {
        name: t.double() if t.is_floating_point() else t if t.dtype == torch.bool else t.long()
        for name, t in tensors.items()
    }
    return System(**wide, masses=System.single(wide["positions"], wide["numbers"]).masses)


def _build(description: dict[str, Any], builders: Mapping[str, Builder], path: str) -> Potential:
    kind = description["kind"]
    if kind in _OF_PARTS:
        return _OF_PARTS[kind]([_build(part, builders, path) for part in description["parts"]])
    if kind not in builders:
        raise ModelError(
            "E-MODEL-KIND",
            f"the file needs a model of kind '{kind}', which is not available here",
            file=path,
            fix=nearest(kind, builders),
        )
    return builders[kind](description)


def _refuse_foreign(path: Path) -> None:
    if not path.is_file():
        raise ModelError("E-MODEL-MISSING", "there is no such model file", file=str(path), fix="check the path")
    with path.open("rb") as stream:
        start = stream.read(64)
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ModelError(
            "E-PICKLE",
            "the file is a pickle, and reading a pickle runs whatever code it carries",
            file=str(path),
            fix="convert it to safetensors in an environment you can afford to lose",
        )
    if start.lstrip()[:1] == b"<":
        raise ModelError(
            "E-MODEL-DOWNLOAD",
            "the file is a web page, not a model",
            file=str(path),
            why="the download was answered by a login or an error page",
            fix="delete it and fetch it again, or copy it from a machine that can",
        )


def _damaged(path: str | os.PathLike[str], why: str) -> ModelError:
    return ModelError(
        "E-MODEL-DAMAGED",
        "the model file is damaged",
        file=str(path),
        why=why,
        fix="delete it and fetch or train it again",
    )
