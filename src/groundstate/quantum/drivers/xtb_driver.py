"""tblite at work: extended tight binding (GFN1, GFN2) of molecules. Settings are the fields of `engines.xtb.XTB`.

Checked: tests/quantum/test_xtb_engine.py
"""

from importlib.metadata import version
from typing import Any

from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator

HARTREE, BOHR = 27.211386245988, 0.529177210903

Arrays = dict[str, Any]
"""A structure, or an answer: arrays by name."""


class NotConvergedError(Exception):
    """The self-consistent charges ended without a solution."""

    code = "E-SCF-NOT-CONVERGED"


class TightBinding:
    """Answers under fixed settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.facts = {"version": version("tblite")}

    def __call__(self, structures: list[Arrays], want: list[str]) -> list[Arrays | Exception]:
        return [_attempt(structure, want, self.settings) for structure in structures]


def start(settings: dict[str, Any]) -> TightBinding:
    """What `external/worker.py` asks of a driver."""
    return TightBinding(settings)


def _attempt(structure: Arrays, want: list[str], settings: Arrays) -> Arrays | Exception:
    try:
        calculator = Calculator(
            settings["method"],
            structure["numbers"],
            structure["positions"] / BOHR,
            charge=float(structure.get("charge", 0.0)),
            uhf=int(structure.get("multiplicity", 1)) - 1,
        )
        calculator.set("verbosity", 0)
        calculator.set("accuracy", settings["accuracy"])
        calculator.set("max-iter", settings["max_cycles"])
        result = calculator.singlepoint()
    except TBLiteRuntimeError as error:
        return NotConvergedError(str(error)) if "converge" in str(error) else error
    except Exception as error:  # noqa: BLE001 — one molecule that fails must not end the others
        return error
    found = {
        "energy": result.get("energy") * HARTREE,
        "forces": -result.get("gradient") * HARTREE / BOHR,
        "charges": result.get("charges"),
        "dipole": result.get("dipole") * BOHR,
    }
    return {name: found[name] for name in want}
