"""tblite at work: extended tight binding (GFN1, GFN2) of molecules. Settings are the fields of `engines.xtb.XTB`.

Checked: tests/quantum/test_xtb_engine.py
"""

from importlib.metadata import version

from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator

HARTREE, BOHR = 27.211386245988, 0.529177210903


class NotConverged(Exception):
    """The self-consistent charges ended without a solution."""

    code = "E-SCF-NOT-CONVERGED"


def start(settings):
    """A function that answers for molecules under these settings."""

    def compute(structures, want):
        return [_attempt(structure, want, settings) for structure in structures]

    compute.facts = {"version": version("tblite")}
    return compute


def _attempt(structure, want, settings):
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
        return NotConverged(str(error)) if "converge" in str(error) else error
    except Exception as error:  # noqa: BLE001 — one molecule that fails must not end the others
        return error
    found = {
        "energy": result.get("energy") * HARTREE,
        "forces": -result.get("gradient") * HARTREE / BOHR,
        "charges": result.get("charges"),
        "dipole": result.get("dipole") * BOHR,
    }
    return {name: found[name] for name in want}
