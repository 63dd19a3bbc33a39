"""Engines by name, and what of them is on this machine."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from shutil import which
from typing import Any

from groundstate.atoms import OptionError, nearest
from groundstate.quantum.engine import Engine
from groundstate.quantum.engines import ASE, GPAW, XTB, Abinit, PySCF
from groundstate.quantum.engines.gpaw import ENVIRONMENT, LIBRARIES

ENGINES: Mapping[str, Callable[..., Engine]] = {
    "gpaw": GPAW,
    "pyscf": PySCF,
    "xtb": XTB,
    "abinit": Abinit,
    "ase": ASE,
}


def engine(name: str, options: Mapping[str, Any]) -> Engine:
    """An engine with settings of its own; names it does not have are answered with the nearest."""
    if name not in ENGINES:
        raise OptionError("E-ENGINE-UNKNOWN", f"there is no engine '{name}'", fix=nearest(name, ENGINES))
    known = [f.name for f in fields(ENGINES[name])]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise OptionError("E-OPTION", f"{name} has no setting '{option}'", fix=nearest(option, known))
    return ENGINES[name](**{option: _frozen(value) for option, value in options.items()})


def _frozen(value: Any) -> Any:
    """Lists of a command line or a recipe as the tuples of a configuration."""
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


def report() -> list[dict[str, str | None]]:
    """One row per engine: version, or `None` and the exact lines that install it; and its licence and use."""
    abinit = "apt install abinit abinit-data"
    gpaw = ENVIRONMENT.record().get("versions", {}).get("gpaw", ENVIRONMENT.python) if ENVIRONMENT.installed else None
    return [
        _row("gpaw", gpaw, "crystals (GPL)", " && ".join([f"apt install {LIBRARIES}", *ENVIRONMENT.lines()])),
        _row("pyscf", _version("pyscf"), "molecules (Apache-2.0)", "pip install 'groundstate[molecules]'"),
        _row("xtb", _version("tblite"), "molecules, cheap (LGPL)", "pip install 'groundstate[xtb]'"),
        _row("abinit", which("abinit"), "Born charges, ε∞, LO–TO (GPL)", abinit),
        _row("ase", _version("ase"), "any ASE calculator, your own install", "pip install ase"),
    ]


def _row(name: str, found: str | None, use: str, install: str) -> dict[str, str | None]:
    return {"engine": name, "version": found, "for": use, "install": "" if found else install}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
