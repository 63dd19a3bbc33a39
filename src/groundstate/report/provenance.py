"""What made a number: model, level of theory, precision, versions and hashes, as a report shows it."""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from groundstate.data.store import digest_of, is_store, read_manifest
from groundstate.potentials import Potential

_PACKAGES = ("groundstate", "torch", "numpy", "ase")


def provenance(
    potential: Potential | None = None,
    *,
    files: Iterable[str | Path] = (),
    packages: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Facts for `Page.facts`, plain data: identity of the model, its theory and precision, inputs by hash, versions.

    files     that were read; each enters with the first 16 digits of its SHA-256
    packages  that took part beyond the usual, e.g. `phonopy`
    """
    facts: dict[str, Any] = {}
    if potential is not None:
        facts["model"] = potential.fingerprint()
        facts["level of theory"] = "; ".join(theory.id for theory in potential.theories) or "not stated"
        facts["precision"] = ", ".join(_precisions(potential)) or "float64"
    for name, value in (settings or {}).items():
        facts[name] = value
    for file in files:
        path = Path(file)
        if is_store(path):
            facts[f"input {path.name}"] = "store " + digest_of(read_manifest(path))
        if path.is_file():
            facts[f"input {path.name}"] = "sha256 " + hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    for package in (*_PACKAGES, *packages):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    facts["python"] = platform.python_version()
    return facts


def _precisions(potential: Potential) -> list[str]:
    """Those of its parameters, and what parts with constant weights say of themselves."""
    description = potential.describe()
    stated = [part.get("precision") for part in (description, *description.get("parts", ()))]
    held = [str(tensor.dtype).removeprefix("torch.") for tensor in potential.state_dict().values()]
    return sorted({name for name in (*stated, *held) if name is not None and name.startswith("float")})
